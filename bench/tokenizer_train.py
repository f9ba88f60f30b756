#!/usr/bin/env python3
"""BPE training by ds-train and by Hugging Face tokenizers in turn:
tokenizer_train.py DS_TRAIN JSONL [VOCAB_SIZE [PRETOKENIZER...]]

Wall seconds with 2 threads, medians of 3. Those of ds-train are the process, from the file to the file; those of
tokenizers are train_from_iterator over a list in memory. The merges must be equal."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "2"
os.environ["TOKENIZERS_PARALLELISM"] = "true"
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402 (reads the variables above)

SPECIAL = ["<|bos|>", "<|eos|>", "<|pad|>"]


def splits_of(trained: dict):
    """The pre-tokenizer that ds-train wrote, made anew from its patterns."""
    parts = trained["pre_tokenizer"]
    if parts["type"] == "ByteLevel":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = [pre_tokenizers.Split(Regex(part["pattern"]["Regex"]), "isolated") for part in parts["pretokenizers"][:-1]]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def main() -> None:
    ds_train, texts_file, *rest = sys.argv[1:]
    vocab_size = int(rest[0]) if rest else 32768
    with open(texts_file, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    print(f"{len(texts)} texts, {sum(len(text.encode()) for text in texts) / 1e6:.1f} MB; wall seconds, 2 threads, medians of 3")
    for name in rest[1:] or ["gpt2", "llama3", "qwen2", "deepseek3"]:
        ours, theirs, same = [], [], True
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                out = f"{folder}/tokenizer.json"
                start = time.monotonic()
                subprocess.run([ds_train, "tokenizer", "-q", "-j", "2", "--vocab-size", str(vocab_size), "--pretokenizer", name,
                                texts_file, "-o", out], check=True)
                ours.append(time.monotonic() - start)
                with open(out, encoding="utf-8") as file:
                    trained = json.load(file)
            peer = Tokenizer(models.BPE())
            if name == "qwen2":
                peer.normalizer = normalizers.NFC()
            peer.pre_tokenizer = splits_of(trained)
            trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False,
                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
            start = time.monotonic()
            peer.train_from_iterator(texts, trainer, length=len(texts))
            theirs.append(time.monotonic() - start)
            learned = json.loads(peer.to_str())["model"]
            same = same and all(learned[key] == trained["model"][key] for key in ("vocab", "merges"))
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{name}: ds {a:.2f}, tokenizers {b:.2f}, {b / a:.1f}x{'' if same else ', NOT the same merges'}", flush=True)


main()
