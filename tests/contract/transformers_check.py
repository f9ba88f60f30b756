#!/usr/bin/env python3
"""Does a model that ds-train wrote load in Hugging Face transformers, and give the same scores?

  transformers_check.py BUILD_DIR [MODEL_DIR]

Without MODEL_DIR tiny models of each architecture are trained for a few steps. Exit status: 0 equal within 1e-3,
1 not, 77 (skipped, for ctest) where Python lacks torch or transformers.
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 1e-3

try:
    import torch
    import transformers
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

COMMON = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
          "num_key_value_heads": 4, "max_position_embeddings": 256, "intermediate_size": 96, "initializer_range": 0.1,
          "bos_token_id": 0, "eos_token_id": 1, "rope_theta": 10000.0}
DEEPSEEK = COMMON | {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": 24,
                     "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
                     "moe_intermediate_size": 24, "n_routed_experts": 16, "n_shared_experts": 1,
                     "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1,
                     "norm_topk_prob": True, "routed_scaling_factor": 2.5}
CONFIGS = {
    "deepseek_v3": DEEPSEEK,
    "deepseek_v3_yarn": DEEPSEEK | {"q_lora_rank": None, "rope_scaling": {
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 1.0, "mscale_all_dim": 1.0,
        "beta_fast": 32, "beta_slow": 1}},
    "llama": COMMON | {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_key_value_heads": 2,
                       "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                        "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
    "deepseek_v2": DEEPSEEK | {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
                               "topk_method": "group_limited_greedy", "norm_topk_prob": False},
    "mixtral": COMMON | {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_key_value_heads": 2,
                         "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    "olmoe": COMMON | {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "num_experts": 8,
                       "num_experts_per_tok": 2},
    "qwen3_moe": COMMON | {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 24,
                           "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True},
    "olmoe_clip": COMMON | {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "num_experts": 8,
                            "num_experts_per_tok": 2, "clip_qkv": 1.0},
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 320, "n_embd": 64, "n_layer": 3, "n_head": 4,
             "n_positions": 256, "initializer_range": 0.1, "bos_token_id": 0, "eos_token_id": 1},
    "gemma3": COMMON | {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 16,
                        "sliding_window": 16, "query_pre_attn_scalar": 16, "final_logit_softcapping": 20.0, "tie_word_embeddings": True},
    "qwen2": COMMON | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "tie_word_embeddings": True},
}


def write_records(path, vocab, lengths, seed):
    rng = random.Random(seed)
    with open(path, "w") as out:
        for i, length in enumerate(lengths):
            out.write(json.dumps({"id": str(i), "tokens": [rng.randrange(vocab) for _ in range(length)]}) + "\n")


def byte_tokenizer():
    """A byte-level BPE without merges: ds-run wants a tokenizer beside the weights, though records here are ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in printable}
    letters |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in letters)}
    return {"version": "1.0", "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {letters[b]: b for b in range(256)}, "merges": []}}


def train(build, config, folder):
    (folder / "config.json").write_text(json.dumps(config))
    write_records(folder / "train.jsonl", config["vocab_size"], [33] * 8, 1)
    subprocess.run([build / "ds-train", "pretrain", "--init", folder / "config.json", "--data", folder / "train.jsonl",
                    "--steps", "3", "--batch-size", "4", "--micro-batch-size", "2", "--sequence-length", "32",
                    "--learning-rate", "1e-3", "--seed", "1", "-o", folder / "model"], check=True)
    (folder / "model" / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    return folder / "model"


def check(build, model_dir, folder):
    """The greatest difference of log-probabilities between ds-run and transformers."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, output_loading_info=True)
    model.eval()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            sys.exit(f"{model_dir}: transformers reports {kind}: {sorted(info[kind])[:5]}")
    records = folder / "score.jsonl"
    write_records(records, model.config.vocab_size, [5, 40, 120], 2)
    scored = subprocess.run([build / "ds-run", "score", "--model", model_dir, records], check=True, stdout=subprocess.PIPE)
    worst = 0.0
    for line in scored.stdout.decode().splitlines():
        record = json.loads(line)
        ids = torch.tensor([record["tokens"]])
        with torch.no_grad():
            logits = model(ids).logits[0].log_softmax(-1)
        want = logits[:-1].gather(1, ids[0, 1:, None])[:, 0]
        got = torch.tensor(record["run"]["logprobs"])
        worst = max(worst, (want - got).abs().max().item())
    return worst


def main():
    build = Path(sys.argv[1]).resolve()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        models = {sys.argv[2]: None} if len(sys.argv) > 2 else CONFIGS
        for name, config in models.items():
            folder = Path(scratch) / Path(name).name
            folder.mkdir()
            model_dir = train(build, config, folder) if config else Path(name)
            worst = check(build, model_dir, folder)
            print(f"{name}: largest difference of log-probabilities {worst:.2e}")
            failed |= not worst < TOLERANCE
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
