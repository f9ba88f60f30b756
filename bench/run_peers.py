#!/usr/bin/env python3
"""Peers and limits of bench/run.py that live in Python; each prints a JSON object, seconds are medians.

    run_peers.py transformers MODEL PROMPT GENERATE THREADS REPEAT   a model folder in transformers, in the folder's dtype as f32
    run_peers.py limits THREADS                                      what the machine's own libraries reach: sgemm, int8
"""

import json
import statistics
import sys
import time


def timed(function, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def transformers(model, prompt, generate, threads, repeat):
    import resource

    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    start = time.perf_counter()
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    load = time.perf_counter() - start
    ids = torch.randint(loaded.config.vocab_size, (1, prompt), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        run = lambda: loaded(ids, use_cache=True, logits_to_keep=1)
        cache = run().past_key_values
        seconds = timed(run, repeat)
        step = lambda: loaded(ids[:, :1], past_key_values=cache, use_cache=True)
        token = timed(step, generate) if generate else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"load_seconds": load, "prompt_seconds": seconds, "token_seconds": token, "peak": peak}


def limits(threads):
    import numpy
    import torch

    torch.set_num_threads(threads)
    n = 1024
    a, b = (numpy.random.default_rng(i).standard_normal((n, n), dtype=numpy.float32) for i in (1, 2))
    x, y = (torch.randint(-127, 128, (n, n), dtype=torch.int8) for _ in (1, 2))
    work = 2 * n**3
    a @ b, torch._int_mm(x, y)
    return {"sgemm": work / min(timed(lambda: a @ b, 5) for _ in range(3)), "int8": work / min(timed(lambda: torch._int_mm(x, y), 5) for _ in range(3))}


def main():
    if sys.argv[1] == "limits":
        result = limits(int(sys.argv[2]))
    else:
        result = transformers(sys.argv[2], *map(int, sys.argv[3:]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
