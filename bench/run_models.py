#!/usr/bin/env python3
"""Models with random weights for bench/run.py, for ds-run and for llama.cpp: run_models.py --llama-cpp DIR [--only NAME,...] OUT

OUT/NAME/ are folders as Hugging Face lays them out, OUT/NAME.gguf what the converter of llama.cpp (DIR, with its build in
DIR/build) makes of them, without a vocabulary. What is there already stays. It needs torch, safetensors and gguf.

The quantized folders are drawn as such (random 4-bit and 8-bit values, scales that give the usual spread): they are
there to be timed. Those of llama.cpp are its own quantization of the f16 file.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

VOCAB, CONTEXT, GROUP = 32000, 40960, 128
COMMON = {"vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "hidden_act": "silu",
          "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.02, "rope_theta": 10000.0, "attention_bias": False}


def llama(hidden, layers, heads, kv_heads, inner):
    return {**COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": hidden // heads, "intermediate_size": inner,
            "mlp_bias": False}


QWEN3_MOE = {**COMMON, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 512, "num_hidden_layers": 8,
             "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "intermediate_size": 1408, "moe_intermediate_size": 384,
             "num_experts": 32, "num_experts_per_tok": 4, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
             "use_sliding_window": False, "sliding_window": None}
DEEPSEEK_V3 = {**COMMON, "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 512,
               "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 384, "kv_lora_rank": 256,
               "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "intermediate_size": 1408, "moe_intermediate_size": 384,
               "n_routed_experts": 32, "n_shared_experts": 1, "num_experts_per_tok": 4, "n_group": 4, "topk_group": 2,
               "first_k_dense_replace": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
               "topk_method": "noaux_tc", "rope_interleave": True, "num_nextn_predict_layers": 0}
SHAPES = {"llama134": llama(768, 12, 12, 12, 2048), "llama780": llama(1536, 24, 12, 12, 4096), "gqa180": llama(1024, 12, 16, 4, 3072),
          "moe190": QWEN3_MOE, "mla181": DEEPSEEK_V3}
# name: shape, weights of the folder, type of the .gguf ("": none). llama780 is there for what is small at 4 or 8 bits.
MODELS = {"llama134-f32": ("llama134", "f32", "f32"), "llama134-f16": ("llama134", "f16", "f16"), "llama134-bf16": ("llama134", "bf16", "bf16"),
          "llama134-awq": ("llama134", "awq", "Q4_0"), "llama134-int8": ("llama134", "int8", "Q8_0"),
          "llama780-bf16": ("llama780", "bf16", "bf16"), "llama780-awq": ("llama780", "awq", "Q4_0"), "llama780-int8": ("llama780", "int8", "Q8_0"),
          "gqa180-f16": ("gqa180", "f16", "f16"),
          "moe190-f32": ("moe190", "f32", "f32"), "moe190-f16": ("moe190", "f16", "f16"), "moe190-awq": ("moe190", "awq", "Q4_0"),
          "mla181-f32": ("mla181", "f32", "f32"), "mla181-f16": ("mla181", "f16", "f16"), "mla181-awq": ("mla181", "awq", "Q4_0")}


def gated(prefix, hidden, inner):
    return {f"{prefix}.gate_proj": (inner, hidden), f"{prefix}.up_proj": (inner, hidden), f"{prefix}.down_proj": (hidden, inner)}


def layer_matrices(c, layer):
    """Linear weights of a block by name, [outputs, inputs]; and the vectors that are ones."""
    h, heads, at = c["hidden_size"], c["num_attention_heads"], f"model.layers.{layer}"
    ones = {f"{at}.input_layernorm": h, f"{at}.post_attention_layernorm": h}
    if c["model_type"] == "deepseek_v3":
        q, kv, nope, rope, v = (c[k] for k in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
        m = {"q_a_proj": (q, h), "q_b_proj": (heads * (nope + rope), q), "kv_a_proj_with_mqa": (kv + rope, h),
             "kv_b_proj": (heads * (nope + v), kv), "o_proj": (h, heads * v)}
        ones |= {f"{at}.self_attn.q_a_layernorm": q, f"{at}.self_attn.kv_a_layernorm": kv}
    else:
        d, kv_heads = c["head_dim"], c["num_key_value_heads"]
        m = {"q_proj": (heads * d, h), "k_proj": (kv_heads * d, h), "v_proj": (kv_heads * d, h), "o_proj": (h, heads * d)}
        if c["model_type"] == "qwen3_moe":
            ones |= {f"{at}.self_attn.q_norm": d, f"{at}.self_attn.k_norm": d}
    m = {f"{at}.self_attn.{name}": shape for name, shape in m.items()}
    experts = c.get("num_experts", c.get("n_routed_experts", 0))
    if experts and layer >= c.get("first_k_dense_replace", 0):
        for e in range(experts):
            m |= gated(f"{at}.mlp.experts.{e}", h, c["moe_intermediate_size"])
        if c.get("n_shared_experts"):
            m |= gated(f"{at}.mlp.shared_experts", h, c["moe_intermediate_size"] * c["n_shared_experts"])
    else:
        m |= gated(f"{at}.mlp", h, c["intermediate_size"])
    return m, ones


def awq(name, shape, draw):
    """AutoAWQ's GEMM layout: eight values of consecutive outputs in an int32."""
    n, k = shape
    word = lambda *size: torch.randint(-(2**31), 2**31 - 1, size, generator=draw, dtype=torch.int64).to(torch.int32)
    return {f"{name}.qweight": word(k, n // 8), f"{name}.qzeros": torch.full((k // GROUP, n // 8), -0x77777778, dtype=torch.int32),
            f"{name}.scales": torch.full((k // GROUP, n), 0.02 / 4.6, dtype=torch.float16)}


def int8(name, shape, draw):
    values = torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8)
    return {f"{name}.weight": values, f"{name}.weight_scale": torch.full((shape[0], 1), 0.02 / 73, dtype=torch.float32)}


INT8_CONFIG = {"quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
               "config_groups": {"group_0": {
                   "targets": ["Linear"],
                   "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
                   "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}}}}
AWQ_CONFIG = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm", "modules_to_not_convert": None}


def byte_level_alphabet():
    """The 256 characters that byte-level tokenizers write bytes as."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(moved)) for b in range(256)]


def write_tokenizer(folder):
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *byte_level_alphabet(), *(f"token{i}" for i in range(258, VOCAB))])}
    special = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, token in enumerate(["<s>", "</s>"])]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None, "pre_tokenizer": level,
                 "post_processor": None, "decoder": level,
                 "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                           "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}))


def make_folder(folder, shape, weights):
    config = SHAPES[shape]
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}.get(weights, torch.float16)
    draw = torch.Generator().manual_seed(1)
    matrix = lambda size: torch.randn(size, generator=draw, dtype=torch.float32).mul_(0.02).to(dtype)
    tensors = {"model.embed_tokens.weight": matrix((VOCAB, config["hidden_size"])), "lm_head.weight": matrix((VOCAB, config["hidden_size"])),
               "model.norm.weight": torch.ones(config["hidden_size"], dtype=dtype)}
    for layer in range(config["num_hidden_layers"]):
        matrices, ones = layer_matrices(config, layer)
        tensors |= {f"{name}.weight": torch.ones(size, dtype=dtype) for name, size in ones.items()}
        for name, size in matrices.items():
            tensors |= awq(name, size, draw) if weights == "awq" else int8(name, size, draw) if weights == "int8" else {f"{name}.weight": matrix(size)}
        experts = config.get("num_experts", config.get("n_routed_experts", 0))
        if experts and layer >= config.get("first_k_dense_replace", 0):
            tensors[f"model.layers.{layer}.mlp.gate.weight"] = matrix((experts, config["hidden_size"]))
            if config["model_type"] == "deepseek_v3":
                tensors[f"model.layers.{layer}.mlp.gate.e_score_correction_bias"] = torch.zeros(experts)
    config = {**config, "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}.get(weights, "float16")}
    if weights in ("awq", "int8"):
        config["quantization_config"] = AWQ_CONFIG if weights == "awq" else INT8_CONFIG
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))  # last: a folder with it is whole


def convert(llama_cpp, folder, outtype, out):
    """The converter of llama.cpp, which knows the vocabularies of known models only, with the folder's own; its server needs one."""
    program = ("import json, sys; sys.path.insert(0, sys.argv.pop(1)); import convert_hf_to_gguf as m; of = m.get_model_class\n"
               "def get(*a, **k):\n c = of(*a, **k)\n"
               " def vocabulary(s):\n"
               "  w, ids = s.gguf_writer, json.loads((s.dir_model / 'tokenizer.json').read_text(encoding='utf-8'))['model']['vocab']\n"
               "  w.add_tokenizer_model('gpt2'), w.add_tokenizer_pre('gpt-2'), w.add_token_list(list(ids))\n"
               "  w.add_token_types([3 if t in ('<s>', '</s>') else 1 for t in ids]), w.add_token_merges([' '.join(list(ids)[2:4])])\n"
               "  w.add_bos_token_id(0), w.add_eos_token_id(1), w.add_add_bos_token(False)\n"
               " c.set_vocab = vocabulary\n return c\n"
               "m.get_model_class = get; m.main()")
    subprocess.run([sys.executable, "-c", program, llama_cpp, folder, "--outtype", outtype, "--outfile", out], check=True)


def make_gguf(llama_cpp, out, shape, kind, target):
    if kind in ("f32", "f16", "bf16"):
        return convert(llama_cpp, out / f"{shape}-{kind}", kind, target)
    source = out / f"{shape}-source.gguf"  # quantized from the widest folder there is
    base = next(f"{shape}-{wide}" for wide in ("f16", "bf16") if f"{shape}-{wide}" in MODELS)
    make(llama_cpp, out, base)
    if not source.exists():
        convert(llama_cpp, out / base, "f16", source)
    subprocess.run([llama_cpp / "build/bin/llama-quantize", source, target, kind, "2"], check=True)


def make(llama_cpp, out, name):
    shape, weights, kind = MODELS[name]
    folder, gguf = out / name, out / f"{name}.gguf"
    if not (folder / "config.json").exists():
        print(f"{folder}", flush=True)
        make_folder(folder, shape, weights)
    if not gguf.exists():
        print(f"{gguf}", flush=True)
        make_gguf(llama_cpp, out, shape, kind, gguf)


def main():
    parser = argparse.ArgumentParser(description="models for bench/run.py")
    parser.add_argument("--llama-cpp", type=Path, required=True, help="its source folder, built in build/")
    parser.add_argument("--only", default=",".join(MODELS), help=f"some of {','.join(MODELS)}")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only.split(","):
        make(args.llama_cpp.resolve(), args.out.resolve(), name)


if __name__ == "__main__":
    main()
