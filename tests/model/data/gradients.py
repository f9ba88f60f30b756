#!/usr/bin/env python3
"""Makes gradients.json: the loss and the gradients of tiny models of each architecture, by transformers 5.24 with torch 2.15.

  gradients.py > gradients.json

Weights are made from their names by the formula of tests/model/fixture.h (value_of, make_values) and rounded to f32; all
that follows is in double, but for the frequencies of rotations, which transformers makes in f32. Attention and experts are
the eager ones. Two documents are computed one by one (a batch that packs them has to give the same); the loss is the mean
cross-entropy of the next tokens of both. Of each weight's gradient (all experts of a layer together) the file has its norm
and its products with 8 vectors of signs, which come from value_of too: the mean square of differences of products is
that of the gradients' distance. Embeddings have no padding_idx, with which torch would leave out a row's gradient.
"""
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

SIGNS = 8

COMMON = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "intermediate_size": 20, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
          "rope_theta": 1000.0, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "hidden_act": "silu"}
GPT2 = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4,
        "n_positions": 64, "bos_token_id": 0, "eos_token_id": 1}
DEEPSEEK = COMMON | {"num_key_value_heads": 4, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
                     "moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 3, "first_k_dense_replace": 1,
                     "n_group": 4, "topk_group": 2, "num_hidden_layers": 3}
GEMMA = COMMON | {"num_hidden_layers": 3, "num_key_value_heads": 1, "head_dim": 6, "sliding_window": 8, "query_pre_attn_scalar": 5,
                  "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}


def row(architecture, model_type, base=COMMON, **keys):
    return base | {"architectures": [architecture + "ForCausalLM"], "model_type": model_type} | keys


CASES = {
    "gpt2": GPT2,
    "gpt2_other": GPT2 | {"activation_function": "gelu", "n_inner": 40, "scale_attn_weights": False, "layer_norm_epsilon": 1e-2,
                          "tie_word_embeddings": False},
    "llama": row("Llama", "llama", attention_bias=True, mlp_bias=True, head_dim=8,
                 rope_scaling={"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                               "original_max_position_embeddings": 16}),
    "mistral": row("Mistral", "mistral", sliding_window=8, head_dim=6),
    "qwen2": row("Qwen2", "qwen2", tie_word_embeddings=True, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "qwen3": row("Qwen3", "qwen3", head_dim=6, attention_bias=True),
    "qwen3_moe": row("Qwen3Moe", "qwen3_moe", head_dim=6, num_hidden_layers=3, num_experts=6, num_experts_per_tok=2,
                     moe_intermediate_size=8, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[1]),
    "mixtral": row("Mixtral", "mixtral", num_local_experts=5, num_experts_per_tok=2, sliding_window=8),
    "olmoe": row("Olmoe", "olmoe", num_experts=6, num_experts_per_tok=2),
    "olmoe_clip": row("Olmoe", "olmoe", num_experts=6, num_experts_per_tok=2, clip_qkv=0.7, norm_topk_prob=True, attention_bias=True),
    "deepseek_v2": row("DeepseekV2", "deepseek_v2", DEEPSEEK, q_lora_rank=None, n_shared_experts=2, topk_method="group_limited_greedy",
                       routed_scaling_factor=2.0, norm_topk_prob=False),
    "deepseek_v3": row("DeepseekV3", "deepseek_v3", DEEPSEEK, q_lora_rank=12, n_shared_experts=1, norm_topk_prob=True,
                       routed_scaling_factor=2.5, attention_bias=True,
                       rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 1.0,
                                     "mscale_all_dim": 0.7, "beta_fast": 32, "beta_slow": 1}),
    "gemma2": row("Gemma2", "gemma2", GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=5.0),
    "gemma3": row("Gemma3", "gemma3_text", GEMMA, rope_local_base_freq=100.0, attention_bias=True,
                  layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "gemma3_cap": row("Gemma3", "gemma3_text", GEMMA, rope_local_base_freq=100.0, final_logit_softcapping=3.0,
                      layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
}


def values_of(name, count):
    """value_of of fixture.h for 0 .. count-1."""
    x = 0xcbf29ce484222325
    for c in name.encode():
        x = ((x ^ c) * 0x100000001b3) & 0xffffffffffffffff
    with np.errstate(over="ignore"):
        x = np.uint64(x) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9e3779b97f4a7c15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float64) / 16777216.0 - 0.5


def make(name, shape, plus_one):
    norm = len(shape) == 1 and "bias" not in name
    middle = 1 if norm and not plus_one else 0
    spread = 0.2 if name.endswith("e_score_correction_bias") else 0.5 if len(shape) == 1 else 1
    return torch.tensor(middle + spread * values_of(name, int(np.prod(shape)))).reshape(shape)


GPT2_NAMES = {"wte": "model.embed_tokens", "wpe": "model.embed_positions", "ln_f": "model.norm", "ln_1": "input_layernorm",
              "ln_2": "post_attention_layernorm", "attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj",
              "mlp.c_proj": "mlp.down_proj"}


def our_names(name):
    """The names of ours that a tensor of a file holds, and whether it is transposed."""
    match = re.fullmatch(r"transformer\.(?:h\.(\d+)\.)?(.*)\.(weight|bias)", name)
    if not match:
        return [name], False
    layer, module, kind = match.groups()
    prefix = f"model.layers.{layer}." if layer else ""
    matrix = kind == "weight" and module.startswith(("attn.", "mlp."))
    if module == "attn.c_attn":
        return [f"{prefix}self_attn.{m}_proj.{kind}" for m in "qkv"], matrix
    return [f"{prefix}{GPT2_NAMES[module]}.{kind}"], matrix


def join(name, shape, plus_one):
    ours, transposed = our_names(name)
    one = list(reversed(shape)) if transposed else list(shape)
    one[0] //= len(ours)
    whole = torch.cat([make(our, one, plus_one) for our in ours])
    return (whole.T if transposed else whole).to(torch.float32).contiguous()


def split(name, tensor):
    ours, transposed = our_names(name)
    return zip(ours, (tensor.T if transposed else tensor).chunk(len(ours)))


def in_double():
    """Where the code asks for f32 it gets double."""
    def wide(function):
        swap = lambda a: torch.float64 if a is torch.float32 else a
        return lambda *args, **kinds: function(*[swap(a) for a in args], **{k: swap(a) for k, a in kinds.items()})
    for name in ("to", "type"):
        setattr(torch.Tensor, name, wide(getattr(torch.Tensor, name)))
    torch.Tensor.float = torch.Tensor.double
    torch.nn.functional.softmax = wide(torch.nn.functional.softmax)


def load(config, folder):
    (folder / "config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder / "names")
    plus_one = config["model_type"].startswith("gemma")
    save_file({name: join(name, t.shape, plus_one) for name, t in load_file(folder / "names" / "model.safetensors").items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       experts_implementation="eager", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    model.get_input_embeddings().padding_idx = None
    return model.eval()


def gradients(model, folder):
    """By the names of a file: the gradients are saved as if they were weights."""
    for p in model.parameters():
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    model.save_pretrained(folder / "gradients")
    sums = {}
    for name, tensor in load_file(folder / "gradients" / "model.safetensors").items():
        if name.endswith("e_score_correction_bias"):
            continue
        for ours, gradient in split(name, tensor.double()):
            g = gradient.reshape(-1).numpy()
            products = [g @ np.where(values_of(f"{ours}#{j}", g.size) < 0, -1.0, 1.0) for j in range(SIGNS)]
            sums.setdefault(re.sub(r"experts\.\d+\.", "experts.{}.", ours), []).append([g @ g, *products])
    result = {}
    for name, parts in sorted(sums.items()):
        square, *products = np.sum(parts, axis=0)
        result[name] = [float(f"{x:.9g}") for x in (square**0.5, *products)]
    return result


def main():
    documents = [[int((v + 0.5) * COMMON["vocab_size"]) for v in values_of(name, count)] for name, count in (("a", 23), ("b", 14))]
    documents[0][5] = COMMON["pad_token_id"]
    models, cases = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for name, config in CASES.items():
            (Path(scratch) / name).mkdir()
            models[name] = load(config, Path(scratch) / name)
        in_double()
        for name, config in CASES.items():
            model, total = models[name].double(), 0
            for ids in documents:
                logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
                assert logits.dtype == torch.float64
                total = total + torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum")
            loss = total / sum(len(ids) - 1 for ids in documents)
            loss.backward()
            cases.append({"name": name, "config": config, "loss": loss.item(), "gradients": gradients(model, Path(scratch) / name)})
    print('{"documents": ' + json.dumps(documents) + ',\n "cases": [')
    for i, case in enumerate(cases):
        rows = ",\n    ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in case["gradients"].items())
        print(f'  {{"name": "{case["name"]}", "loss": {case["loss"]},\n   "config": {json.dumps(case["config"])},\n'
              f'   "gradients": {{\n    {rows}}}}}' + ("," if i + 1 < len(cases) else "]}"))


if __name__ == "__main__":
    main()
