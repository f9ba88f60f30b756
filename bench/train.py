#!/usr/bin/env python3
"""Training steps of ds-train next to PyTorch's, in turn: forward, loss, backward, clip 1.0, AdamW; F32.

    train.py [OPTION...] BENCH_TRAIN [SHAPE...]

A shape's model is made by transformers and saved; both sides load it and see the same token ids, so that their losses are
equal at first, which is checked. In a round each side does one step, and a figure is the median over the rounds (the first
two of each are not counted). PyTorch has transformers' model with SDPA and, in a mixture of experts, each of --experts
(grouped_mm, eager, ...; "+compile" after one for torch.compile), and the fused AdamW. Printed are tokens a second, the
share of the peak (OpenBLAS's sgemm, measured in each round; 6 operations a token for each weight of a product that takes
part, and 6 T d a layer for attention, half a square, count), peak memory, and the ratio. --prefix goes before each command.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "num_key_value_heads": 12, "intermediate_size": 2048, "vocab_size": 32000, "max_position_embeddings": 2048}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
        "vocab_size": 50257, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MOE = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 384, "num_hidden_layers": 4, "num_attention_heads": 6,
       "num_key_value_heads": 6, "head_dim": 64, "intermediate_size": 640, "vocab_size": 8192, "num_experts_per_tok": 2,
       "norm_topk_prob": True, "max_position_embeddings": 2048, "decoder_sparse_step": 1}
DEEPSEEK = {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 384, "num_hidden_layers": 4,
            "num_attention_heads": 6, "num_key_value_heads": 6, "q_lora_rank": 192, "kv_lora_rank": 128, "qk_nope_head_dim": 64,
            "qk_rope_head_dim": 32, "v_head_dim": 64, "n_shared_experts": 1, "first_k_dense_replace": 1, "intermediate_size": 1024,
            "moe_intermediate_size": 80, "n_routed_experts": 128, "num_experts_per_tok": 2, "n_group": 8, "topk_group": 4,
            "vocab_size": 8192, "max_position_embeddings": 2048}
# name: config, rows, length
SHAPES = {
    "llama-110m": (LLAMA, 4, 256),
    "gpt2-124m": (GPT2, 4, 256),
    "moe-16": (MOE | {"num_experts": 16, "moe_intermediate_size": 640}, 8, 256),
    "moe-128": (MOE | {"num_experts": 128, "moe_intermediate_size": 80}, 8, 256),
    "deepseek-128": (DEEPSEEK, 8, 256),
}


def load_torch_model(config, experts):
    import transformers

    options = {"attn_implementation": "sdpa"}
    if experts:
        options["experts_implementation"] = experts
    own = transformers.AutoConfig.for_model(**config, tie_word_embeddings=True)
    return transformers.AutoModelForCausalLM.from_config(own, **options)


def make(folder, config, rows, length):
    """Writes the model and its tokens; returns operations a token."""
    import torch

    torch.manual_seed(1)
    model = load_torch_model(config, None)
    model.save_pretrained(folder)
    ids = torch.randint(config["vocab_size"], (rows, length + 1), dtype=torch.int32)
    (folder / "tokens").write_bytes(ids.numpy().tobytes())
    experts = config.get("num_experts", config.get("n_routed_experts", 1))
    active = 0
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "wpe" not in name:
            share = config["num_experts_per_tok"] / experts if weight.dim() == 3 else 1
            active += weight.numel() * share
    heads = model.config.num_attention_heads * (getattr(model.config, "head_dim", None) or model.config.hidden_size // model.config.num_attention_heads)
    if "qk_nope_head_dim" in config:
        heads = config["num_attention_heads"] * (config["qk_nope_head_dim"] + config["qk_rope_head_dim"] + config["v_head_dim"]) // 2
    total = sum(p.numel() for p in model.parameters())
    return 6 * active + 6 * length * heads * model.config.num_hidden_layers, total


def peer(folder, experts, rows, length, threads):
    """The other side: what bench_train does, in PyTorch."""
    import resource

    import numpy
    import time
    import torch
    import transformers

    torch.set_num_threads(threads)
    options = {"attn_implementation": "sdpa", "dtype": torch.float32}
    name, _, compiled = experts.partition("+")
    if name:
        options["experts_implementation"] = name
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    model.train()
    if compiled:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.from_numpy(numpy.fromfile(Path(folder) / "tokens", dtype=numpy.int32).reshape(rows, length + 1)).long()
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous().view(-1)

    def step():
        logits = model(input_ids=inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    print("{}", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps({"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)
            continue
        begin = time.perf_counter()
        loss = step()
        print(json.dumps({"seconds": time.perf_counter() - begin, "loss": loss}), flush=True)


class Side:
    def __init__(self, name, command):
        self.name, self.times, self.losses = name, [], []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def step(self):
        answer = self.ask("step")
        self.times.append(answer["seconds"])
        self.losses.append(answer["loss"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(options, shape):
    config, rows, length = SHAPES[shape]
    experts = options.experts.split(",") if config["model_type"] in ("qwen3_moe", "deepseek_v3") else [""]
    prefix = shlex.split(options.prefix)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        operations, total = make(folder, config, rows, length)
        common = [str(rows), str(length), str(options.threads)]
        # Each loads alone, so that no peak of one meets the steps of another.
        sides = [Side("ds", prefix + [options.bench_train, str(folder), str(folder / "tokens"), *common])]
        for kind in experts:
            sides.append(Side("torch " + kind, prefix + [sys.executable, __file__, "--peer", str(folder), kind, *common]))
        peaks = []
        for _ in range(options.rounds + 2):
            peaks.append(float(subprocess.run(prefix + [options.bench_train, "sgemm", str(options.threads)], check=True, capture_output=True, text=True).stdout))
            for side in sides:
                side.step()
        peak, base = statistics.median(peaks), None
        print(f"{shape}: {total / 1e6:.1f}M weights, {rows} x {length} tokens, {operations / 1e6:.0f} M operations a token; sgemm {peak:.0f} GFLOP/s", flush=True)
        for side in sides:
            seconds = statistics.median(side.times[2:])
            memory = side.ask("memory")["peak_bytes"]
            side.end()
            if base is None:
                base = seconds, memory
            elif any(abs(a - b) > 2e-3 * abs(b) for a, b in zip(sides[0].losses[:2], side.losses[:2])):
                sys.exit(f"losses differ: {sides[0].losses[:2]} and {side.losses[:2]}")
            rate = rows * length / seconds
            print(f"  {side.name:<20} {rate:8.0f} tokens/s {100 * rate * operations / peak * 1e-9:5.1f} % of sgemm {memory / 1e6:7.0f} MB"
                  f"   ds is {seconds / base[0]:.2f}x, with {base[1] / memory:.2f} of the memory", flush=True)


def main():
    if sys.argv[1:2] == ["--peer"]:
        folder, experts, rows, length, threads = sys.argv[2:]
        return peer(folder, experts, int(rows), int(length), int(threads))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_train")
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SHAPES) + " (all)")
    for name, value in (("rounds", 5), ("threads", 2), ("experts", "grouped_mm"), ("prefix", ""), ("folder", "")):
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value!r}")
    options = parser.parse_args()
    options.folder = options.folder or None
    for shape in options.shapes or SHAPES:
        compare(options, shape)


if __name__ == "__main__":
    main()
