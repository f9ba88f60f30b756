#!/usr/bin/env python3
"""ds-run's models next to llama.cpp and transformers, and to what memory and processor allow, in the same run.

    run.py [--rounds N] [--threads N] [--jobs JOB,...] --llama-cpp DIR [--prefix "COMMAND"] BUILD MODELS

BUILD holds ds-run and bench/bench_run, MODELS what run_models.py made, DIR llama.cpp built in DIR/build. Run it with a Python
that has torch, transformers, numpy, safetensors and gguf. In each round every tool of a job runs once, one after the other; a
figure is the median of the rounds. --prefix goes before each command ("chrt -f 10" where others use the machine too).

Shares: of a token, the bytes of weights that it must read (all but the embedding; of experts, those it is sent to) and of keys
and values, per second, by the read bandwidth measured by bench_run in the same rounds. Of a prompt, twice the multiply-adds
with the weights of the blocks and in attention (half a square) per second, by sgemm of numpy's OpenBLAS or by the int8 product of
PyTorch (1024 x 1024 x 1024).
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Tool:
    """A row of the table: what runs which model, and what is wanted of the job's first row against it."""

    def __init__(self, kind, model, prompt=512, generate=0, wanted="", limit=None):
        self.kind, self.model, self.prompt, self.generate, self.wanted, self.limit = kind, model, prompt, generate, wanted, limit
        self.runs = []


def pair(model, prompt, generate, share, ratio, limit=None, transformers=False, generated_with=None, ds="ds"):
    rows = [Tool(ds, model, prompt, generate, share, limit), Tool("llama.cpp", generated_with or model, prompt, generate, ratio, limit)]
    return rows + ([Tool("transformers", model, prompt, generate, ratio, limit)] if transformers else [])


def make_jobs():
    """Prefill and decoding of the shapes of run_models.py; those of "length-N" are slow (half an hour together)."""
    jobs = {
        "decode-f32": pair("llama134-f32", 16, 64, "88 %", "1.0x"),
        "decode-f16": pair("llama134-f16", 16, 64, "88 %", "1.0x"),
        "decode-bf16": pair("llama780-bf16", 16, 24, "88 %", "1.0x"),
        "decode-awq": pair("llama780-awq", 16, 24, "65 %", "1.3x"),
        "decode-int8": pair("llama780-int8", 16, 24, "75 %", "1.3x"),
        "decode-awq-int8": pair("llama780-awq", 16, 24, "65 %", "1.3x", ds="ds int8"),
        "prefill-f32": pair("llama134-f32", 512, 0, "80 %", "1.0x", "sgemm", True),
        "prefill-int8": pair("llama134-int8", 512, 0, "65 %", "2.0x", "int8"),
        "prefill-awq": pair("llama134-awq", 512, 0, "", "1.0x", "sgemm"),
        "prefill-awq-int8": pair("llama134-awq", 512, 0, "", "1.0x", "int8", ds="ds int8"),
        "moe-prefill": pair("moe190-f32", 512, 0, "65 %", "1.2x", "sgemm", True),
        "moe-prefill-f16": pair("moe190-f16", 512, 0, "65 %", "1.2x", "sgemm"),
        "moe-decode": pair("moe190-f16", 16, 64, "85 %", "1.0x"),
        "moe-decode-awq": pair("moe190-awq", 16, 64, "60 %", "1.0x"),
        "moe-decode-awq-int8": pair("moe190-awq", 16, 64, "60 %", "1.0x", ds="ds int8"),
        "mla-decode": pair("mla181-f16", 16, 64, "85 %", "1.0x"),
        "mla-decode-awq": pair("mla181-awq", 16, 64, "60 %", "1.0x"),
        "mla-decode-awq-int8": pair("mla181-awq", 16, 64, "60 %", "1.0x", ds="ds int8"),
        "start": [Tool("ds start", "llama134-f32", 8, 1), Tool("llama.cpp start", "llama134-f32", 8, 1)],
    }
    for length in (1024, 4096, 16384, 32768):
        for model in ("llama134-f16", "gqa180-f16", "mla181-f16"):
            jobs.setdefault(f"length-{length}", []).extend([Tool("ds", model, length, 8), Tool("llama.cpp", model, length, 8)])
    return jobs


# ---- What a token costs ----


def config_of(models, tool):
    return json.loads((models / tool.model / "config.json").read_text())


def attention_sizes(c):
    """Numbers of a query and of a value over all heads (for products), and of a position in a cache of keys and values."""
    heads = c["num_attention_heads"]
    if "kv_lora_rank" in c:
        return heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"] + c["qk_rope_head_dim"]
    return heads * 2 * c["head_dim"], c["num_key_value_heads"] * 2 * c["head_dim"]


def tensors_of(models, tool):
    """(name, numbers, bytes) of what is stored; the scales of quantized weights count as bytes alone."""
    if tool.kind.startswith("llama.cpp"):
        from gguf import GGUFReader

        return [(t.name, int(t.n_elements), int(t.n_bytes)) for t in GGUFReader(models / f"{tool.model}.gguf").tensors]
    with open(models / tool.model / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return [(name, 0, t["data_offsets"][1] - t["data_offsets"][0]) for name, t in header.items()]


def token_bytes(models, tool):
    c = config_of(models, tool)
    share = c.get("num_experts_per_tok", 1) / c.get("num_experts", c.get("n_routed_experts", 1))
    return sum(size * (share if ".experts." in name or "_exps" in name else 1) for name, _, size in tensors_of(models, tool)
               if "embed" not in name and "token_embd" not in name)


def cache_bytes(models, tool):
    c = config_of(models, tool)
    numbers = attention_sizes(c)[1] * c["num_hidden_layers"] * (tool.prompt + tool.generate / 2)
    return numbers * (2 if tool.kind == "llama.cpp" else 4)  # llama.cpp keeps f16


def prompt_work(models, tool):
    """Operations (two a multiply-add) in the blocks."""
    c = config_of(models, tool)
    share = c.get("num_experts_per_tok", 1) / c.get("num_experts", c.get("n_routed_experts", 1))
    plain = Tool("llama.cpp", tool.model)  # whose file has plain shapes
    weights = sum(n * (share if "_exps" in name else 1) for name, n, _ in tensors_of(models, plain) if name.startswith("blk"))
    return 2 * weights * tool.prompt + attention_sizes(c)[0] * c["num_hidden_layers"] * tool.prompt**2


# ---- Running ----


def run_json(command, environment):
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    out, errors = child.communicate()
    wall = time.perf_counter() - start
    if child.returncode != 0:
        return None, wall, errors.decode(errors="replace").strip().splitlines()[-1:]
    return json.loads(out) if out.lstrip().startswith((b"{", b"[")) else {}, wall, None


def llama_bench(args, tool, environment):
    """Prompt and tokens in two processes, as it reports no peak: the larger one's, from its status, counts."""
    program, model = args.llama_cpp / "build/bin/llama-bench", args.models / f"{tool.model}.gguf"
    base = [*args.prefix, "/usr/bin/env", "python3", "-c",
            "import resource,subprocess,sys; p = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)\n"
            "print('{\"peak\": %d, \"tests\": %s}' % (resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, p.stdout.decode()))",
            program, "-m", model, "-t", str(args.threads), "-o", "json"]
    if tool.kind == "llama.cpp start":
        result, wall, error = run_json([*base, "-p", str(tool.prompt), "-n", "0", "-r", "1", "--no-warmup"], environment)
        return error or {"start_seconds": wall, "peak": result["peak"]}
    found = {"peak": 0}
    repeat = "1" if tool.prompt > 4096 else "3"
    wanted = [("prompt_seconds", ["-p", str(tool.prompt), "-n", "0", "-b", "2048"])] if tool.prompt > 16 else []
    if tool.generate:
        wanted.append(("token_seconds", ["-p", "0", "-n", str(tool.generate), "-d", str(tool.prompt)]))
    for name, options in wanted:
        result, _, error = run_json([*base, *options, "-r", repeat], environment)
        if error:
            return error
        test = result["tests"][0]
        found[name] = test["avg_ns"] * 1e-9 / (tool.generate if name == "token_seconds" else 1)
        found["peak"] = max(found["peak"], result["peak"])
    return found


def run(args, tool, environment):
    if tool.kind.startswith("llama.cpp"):
        return llama_bench(args, tool, environment)
    model = args.models / tool.model
    if tool.kind == "ds start":
        record = args.models / "start.jsonl"
        record.write_text(json.dumps({"id": "a", "tokens": list(range(5, 5 + tool.prompt))}) + "\n")
        result, wall, error = run_json([*args.prefix, args.build / "ds-run", "generate", "--model", model, "--max-tokens", "1", "-j",
                                        str(args.threads), "-q", record, "-o", os.devnull], environment)
        return error or {"start_seconds": wall}
    repeat = 1 if tool.prompt > 4096 else 3
    numbers = [str(n) for n in (tool.prompt, tool.generate, args.threads, repeat)]
    if tool.kind in ("ds", "ds int8"):
        command = [args.build / "bench/bench_run", model, *numbers, *tool.kind.split()[1:]]
    else:
        command = [sys.executable, HERE / "run_peers.py", "transformers", model, *numbers]
    result, _, error = run_json([*args.prefix, *command], environment)
    return error or result


def median(runs, key):
    values = [one[key] for one in runs if one.get(key)]
    return statistics.median(values) if values else None


def row(args, job, tool, tools, limits):
    done = [one for one in tool.runs if isinstance(one, dict)]
    if not done:
        return [job, tool.kind, tool.model, "", "", str(tool.prompt), " ".join(tool.runs[0])[-100:]]
    prompt, token, start = (median(done, key) for key in ("prompt_seconds", "token_seconds", "start_seconds"))
    shares = []
    if token and limits.get("bandwidth"):
        size = token_bytes(args.models, tool) + cache_bytes(args.models, tool)
        shares.append(f"{100 * size / token / limits['bandwidth']:.0f} % bw")
    if prompt and tool.prompt >= 512:
        shares.append(f"{100 * prompt_work(args.models, tool) / prompt / limits[tool.limit or 'sgemm']:.0f} % {tool.limit or 'sgemm'}")
    first = next(t for t in tools if t.prompt == tool.prompt and t.model == tool.model)
    ratios = []
    for key in ("prompt_seconds", "token_seconds", "start_seconds"):  # rounds side by side
        both = [(b[key] / a[key]) for a, b in zip(first.runs, tool.runs) if isinstance(a, dict) and isinstance(b, dict) and a.get(key) and b.get(key)]
        if tool is not first and both:
            ratios.append(f"{statistics.median(both):.2f}x")
    speed = lambda seconds, count: f"{count / seconds:.4g}" if seconds else ""
    return [job, tool.kind, tool.model, speed(prompt if tool.prompt > 16 else None, tool.prompt), speed(token, 1) or (f"start {start:.2f} s" if start else ""),
            str(tool.prompt), ", ".join(shares), ", ".join(ratios), tool.wanted] + [f"{(median(done, 'peak') or 0) / 1e6:.0f}"]


def print_table(rows):
    head = ["job", "tool", "model", "prompt tokens/s", "tokens/s", "context", "share", "ds is", "wanted", "peak MB"]
    rows = [line + [""] * (len(head) - len(line)) for line in rows]
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def main():
    jobs = make_jobs()
    parser = argparse.ArgumentParser(description="ds-run's models next to their peers")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5; of length-N: 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every tool (2)")
    parser.add_argument("--jobs", default=",".join(job for job in jobs if not job.startswith("length")), help=f"some of {','.join(jobs)} (all but length-N)")
    parser.add_argument("--prefix", type=shlex.split, default=[], help="goes before every command")
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("build", type=Path)
    parser.add_argument("models", type=Path)
    args = parser.parse_args()
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads), OPENBLAS_NUM_THREADS=str(args.threads))
    print(f"{processor()}, {os.cpu_count()} cores, {args.threads} threads; load before: {os.getloadavg()[0]:.1f}; {args.rounds} rounds", flush=True)
    limits, rows = {}, []
    for job in args.jobs.split(","):
        tools, limit_runs = jobs[job], []
        for _ in range(1 if job.startswith("length") else args.rounds):
            measured, _, error = run_json([*args.prefix, sys.executable, HERE / "run_peers.py", "limits", str(args.threads)], environment)
            if error:
                sys.exit(f"run_peers.py limits: {error}")
            limit_runs.append(measured)
            for tool in tools:
                tool.runs.append(run(args, tool, environment))
        limits = {key: median(limit_runs, key) for key in ("sgemm", "int8")}
        limits["bandwidth"] = median([one for tool in tools for one in tool.runs if isinstance(one, dict)], "bandwidth")
        rows += [row(args, job, tool, tools, limits) for tool in tools]
        bandwidth = f"{limits['bandwidth'] * 1e-9:.1f} GB/s read, " if limits["bandwidth"] else ""
        print(f"{job}: {bandwidth}{limits['sgemm'] * 1e-9:.0f} GFLOP/s sgemm, {limits['int8'] * 1e-9:.0f} GOP/s int8", flush=True)
    print_table(rows)
    print(f"load after: {os.getloadavg()[0]:.1f}. Column ds is: how many times faster ds is, in the same round.")


if __name__ == "__main__":
    main()
