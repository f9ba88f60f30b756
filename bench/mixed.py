#!/usr/bin/env python3
"""Many requests of mixed lengths through ds-run and through llama.cpp's server, in turn.

    mixed.py batch [OPTION...] DS_RUN MODEL LLAMA_SERVER GGUF     a file of prompts, end to end
    mixed.py serve [OPTION...] DS_RUN MODEL LLAMA_SERVER GGUF     time to the first token under a bounded load

The same token ids for both, drawn from --seed; lengths are log-uniform (16 to 2,048 in, 16 to 512 out, the upper ends times
--scale), greedy, no end before the last token. `batch`: `ds-run generate` on a file, from the start of the process to its
end; for llama.cpp a client that keeps --slots requests in flight, from the first request to the last answer (its start is
not counted). `serve`: the same client sends streamed requests at times of a Poisson process of --rate a second, at most
--slots of them in flight, to either server. Both have --threads threads and --slots sequences. A figure is the median of
--rounds. --prefix goes before each server's command ("chrt -f 10" where others use the machine too).
"""

import argparse
import http.client
import json
import math
import random
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def make_requests(options):
    rng = random.Random(options.seed)
    vocabulary = json.loads((Path(options.model) / "config.json").read_text())["vocab_size"]
    draw = lambda low, high: round(math.exp(rng.uniform(math.log(low), math.log(max(low, high * options.scale)))))
    requests = []
    for number in range(options.requests):
        length, answer = draw(16, 2048), draw(16, 512)
        requests.append({"id": f"r{number}", "tokens": [rng.randrange(3, vocabulary) for _ in range(length)], "max_tokens": answer})
    return requests


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process that answers /health, and ends with the block."""

    def __init__(self, command, port):
        self.command, self.port = command, port

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.log.seek(0)
        self.process.kill()
        sys.exit(f"{self.command[0]} did not start:\n{self.log.read().decode(errors='replace')[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def llama_server(options):
    # Each slot has room for the longest request; no prompt is kept for later ones.
    port, room = free_port(), (16 + max(len(r["tokens"]) + r["max_tokens"] for r in options.work)) * options.slots
    return Server(shlex.split(options.prefix) + [options.llama_server, "-m", options.gguf, "--port", str(port), "-np", str(options.slots),
                  "-c", str(room), "-t", str(options.threads), "-tb", str(options.threads), "-b", "2048", "-ub", "512",
                  "--cache-ram", "0"] + shlex.split(options.llama_options), port)


def ds_server(options):
    port = free_port()
    return Server(shlex.split(options.prefix) + [options.ds_run, "serve", "--model", options.model, "--model-name", "m", "--port", str(port),
                  "--threads", str(options.threads), "--batch-sequences", str(options.slots)], port)


def ask(port, request, stream):
    """Seconds to the first token and to the end, and the number of tokens."""
    body = {"model": "m", "prompt": request["tokens"], "max_tokens": request["max_tokens"], "temperature": 0, "ignore_eos": True,
            "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1200)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise ValueError(f"{response.status}: {response.read()[:500]}")
    first, usage = None, None
    if stream:
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if first is None and event.get("choices"):
                first = time.perf_counter() - start
            usage = event.get("usage") or usage
    else:
        usage = json.loads(response.read())["usage"]
    connection.close()
    return first, time.perf_counter() - start, usage["completion_tokens"]


def send_all(port, options, stream):
    """All requests, `slots` of them in flight; with a stream each waits for its time. Seconds of all, and what ask() gives."""
    rng = random.Random(options.seed + 1)
    due, at = [], 0.0
    for _ in options.work:
        due.append(at)
        if stream:
            at += rng.expovariate(options.rate)
    answers, numbers, lock = [None] * len(options.work), iter(range(len(options.work))), threading.Lock()
    start = time.perf_counter()

    def client():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            time.sleep(max(0, start + due[number] - time.perf_counter()))
            try:
                answers[number] = ask(port, options.work[number], stream)
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(f"port {port}: {options.work[number]['id']}: {error!r}", file=sys.stderr)

    threads = [threading.Thread(target=client) for _ in range(options.slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    short = [r["id"] for r, a in zip(options.work, answers) if a is None or a[2] != r["max_tokens"]]
    if short:
        sys.exit(f"port {port}: {len(short)} answers are not as long as asked for: {short[:5]}")
    return seconds, answers


def generate(options):
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        given.write_text("".join(json.dumps(r) + "\n" for r in options.work))
        start = time.perf_counter()
        subprocess.run(shlex.split(options.prefix) + [options.ds_run, "generate", "--model", options.model, "--temperature", "0", "--ignore-eos",
                       "--threads", str(options.threads), "--batch-sequences", str(options.slots), "-q", "-o", str(out), str(given)], check=True)
        seconds = time.perf_counter() - start
        for request, line in zip(options.work, out.read_text().splitlines(), strict=True):
            if len(json.loads(line)["run"]["tokens"]) != request["max_tokens"]:
                sys.exit(f"ds-run generate: {request['id']} is not as long as asked for")
        return seconds


def batch(options):
    seconds = {"ds-run generate": [], "llama-server": []}
    for _ in range(options.rounds):
        seconds["ds-run generate"].append(generate(options))
        with llama_server(options) as server:
            seconds["llama-server"].append(send_all(server.port, options, False)[0])
        print(json.dumps({name: round(all_[-1], 2) for name, all_ in seconds.items()}), flush=True)
    ours, theirs = (statistics.median(all_) for all_ in seconds.values())
    given, made = (sum(n(r) for r in options.work) for n in (lambda r: len(r["tokens"]), lambda r: r["max_tokens"]))
    print(json.dumps({"requests": len(options.work), "prompt_tokens": given, "generated_tokens": made, "ds_seconds": round(ours, 2),
                      "llama_seconds": round(theirs, 2), "ds_is": round(theirs / ours, 2)}))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def serve(options):
    for _ in range(options.rounds):
        for name, server in (("ds-run serve", ds_server(options)), ("llama-server", llama_server(options))):
            with server:
                seconds, answers = send_all(server.port, options, True)
            first = [1000 * a[0] for a in answers]
            each = [1000 * (a[1] - a[0]) / max(1, a[2] - 1) for a in answers]
            print(json.dumps({"server": name, "seconds": round(seconds, 2), "first_token_ms": {f"p{p}": round(percentile(first, p / 100)) for p in (50, 90, 99)},
                              "each_token_ms": {f"p{p}": round(percentile(each, p / 100), 1) for p in (50, 99)}}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["batch", "serve"])
    for name in ("ds_run", "model", "llama_server", "gguf"):
        parser.add_argument(name)
    for name, value in (("requests", 1000), ("scale", 1.0), ("rate", 2.0), ("slots", 32), ("threads", 2), ("rounds", 3), ("seed", 1), ("prefix", ""),
                        ("llama-options", "")):
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value!r}")
    options = parser.parse_args()
    options.work = make_requests(options)
    {"batch": batch, "serve": serve}[options.mode](options)


if __name__ == "__main__":
    main()
