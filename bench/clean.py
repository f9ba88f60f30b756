#!/usr/bin/env python3
"""ds-clean next to the tools that it stands in for, over the same JSONL in the same run. By hand: make bench-clean.

    clean.py [--runs N] [--jobs JOB,JOB] [--copies N] [--sample N] BUILD CORPUS.jsonl

BUILD holds ds-clean and bench/bench_clean_io; the peers are installed into BUILD/venv (clean_requirements.txt), and the
corpus is made by examples/demo/corpus.sh where it is missing. In each round every tool of a job runs once, one after the
other; a figure is the median of the rounds. CPU seconds are user and system time of all processes and threads.

Three files: the corpus; "copies", the corpus and copies of it whose letters are shifted along the alphabet (the same
lengths and repetitions, and no duplicates between copies); "sample", every n-th record, for the slow ones.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAMILIES = "gopher-repetition,gopher-quality,c4,fineweb"


class Tool:
    """A row of the table. Its command has {in} and {out}; a peer prints its own times."""

    def __init__(self, name, file, command, peer=False, output=True, target=None):
        self.name, self.file, self.command, self.peer, self.output = name, file, command, peer, output
        self.target = target  # how many times faster ds-clean is wanted
        self.runs = []


def ds(name, file, *options):
    return Tool(name, file, ["{build}/ds-clean", "-q", *options, "{in}", "-o", "{out}"])


def ds_to_nowhere(name, file, *options):
    return Tool(name, file, ["{build}/ds-clean", "-q", *options, "{in}", "-o", os.devnull], output=False)


def peer(name, file, function, target=None):
    return Tool(name, file, ["{python}", str(HERE / "clean_peers.py"), function, "{in}", "{out}"], True, target=target)


def make_jobs():
    return {
        "near": [
            ds("ds-clean --near 0.8 -j1", "copies", "--near", "0.8", "-j1"),
            ds("ds-clean --near 0.8 -j2", "copies", "--near", "0.8", "-j2"),
            peer("datasketch", "sample", "datasketch", 30),
            peer("datasketch, xxHash for SHA-1", "sample", "datasketch_xxh"),
            peer("rensa, R-MinHash", "corpus", "rensa", 8),
            peer("rensa, C-MinHash", "corpus", "rensa_c", 8),
            peer("rensa, rho (samples)", "corpus", "rensa_rho"),
            peer("gaoya", "corpus", "gaoya", 5),
            peer("gaoya, its own words", "corpus", "gaoya_native", 5),
        ],
        "exact": [
            ds("ds-clean --exact -j1", "copies", "--exact", "-j1"),
            ds("ds-clean --exact -j2", "copies", "--exact", "-j2"),
            peer("set of XXH3-128, json", "copies", "xxh3_set", 3),
            peer("set of XXH3-128, orjson", "copies", "xxh3_set_orjson"),
        ],
        "families": [
            ds("ds-clean --preset (three families) -j1", "corpus", "--preset", FAMILIES, "-j1"),
            ds("ds-clean --preset (three families) -j2", "corpus", "--preset", FAMILIES, "-j2"),
            peer("datatrove", "sample", "datatrove", 100),
        ],
        "none": [
            ds_to_nowhere("ds-clean -j1", "copies", "-j1"),
            ds_to_nowhere("ds-clean -j2", "copies", "-j2"),
            Tool("simdjson alone, in memory", "copies", ["{build}/bench/bench_clean_io", "--parse", "{in}"], True, False, 0.5),
        ],
        "none-zst": [
            ds_to_nowhere("ds-clean .zst -j1", "copies.zst", "-j1"),
            ds_to_nowhere("ds-clean .zst -j2", "copies.zst", "-j2"),
            Tool("zstd -dc", "copies.zst", ["zstd", "-dcq", "{in}"], output=False, target=0.5),
        ],
    }


def shifted(text, by):
    table = {}
    for letters in (string.ascii_lowercase, string.ascii_uppercase):
        table.update(str.maketrans(letters, letters[by:] + letters[:by]))
    return text.translate(table)


def make_files(corpus, folder, copies, every):
    """The files to read, and how many bytes of JSONL each one holds."""
    paths = {"corpus": corpus, "copies": folder / "copies.jsonl", "sample": folder / "sample.jsonl"}
    with open(corpus, encoding="utf-8") as lines, open(paths["sample"], "w", encoding="utf-8") as sample:
        sample.writelines(line for i, line in enumerate(lines) if i % every == 0)
    shutil.copyfile(corpus, paths["copies"])
    with open(paths["copies"], "a", encoding="utf-8") as out:
        for copy in range(1, copies):
            for line in open(corpus, encoding="utf-8"):
                record = json.loads(line)
                record["text"] = shifted(record["text"], copy)
                record["id"] += f"#{copy}"
                out.write(json.dumps(record, ensure_ascii=False) + "\n")
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    paths["copies.zst"] = folder / "copies.jsonl.zst"
    subprocess.run(["zstd", "-q", "-3", "-f", paths["copies"], "-o", paths["copies.zst"]], check=True)
    sizes["copies.zst"] = sizes["copies"]
    return paths, sizes


def run(tool, places, path, out):
    command = [part.format(**places, **{"in": path, "out": out}) for part in tool.command]
    # One thread for the peers: their CPU seconds are compared, and waiting threads would spend some.
    environment = dict(os.environ, RAYON_NUM_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", LC_ALL="C.UTF-8")
    start = time.perf_counter()
    target = subprocess.PIPE if tool.peer else subprocess.DEVNULL
    child = subprocess.Popen(command, stdout=target, env=environment)
    printed = child.stdout.read() if tool.peer else b""
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {child.returncode}")
    result = {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "peak": usage.ru_maxrss * 1024}
    if tool.peer:
        result.update(json.loads(printed))
    elif tool.output:
        result["kept"] = sum(1 for _ in open(out, "rb"))
    return result


def median(tool, key):
    return statistics.median(one[key] for one in tool.runs)


def row(job, tool, first, sizes):
    megabytes = sizes[tool.file] / 1e6
    speed = megabytes / median(tool, "cpu")
    own = sizes[first.file] / 1e6 / median(first, "cpu")
    # Only files of the same records can be compared by what stays.
    kept = f"{tool.runs[0]['kept']}" if "kept" in tool.runs[0] else ""
    ratio = f"{own / speed:.3g}x" if tool is not first else ""
    wanted = f"{tool.target}x" if tool.target else ""
    if "-j2" in tool.name:  # against one thread, by wall time, in the same round
        gain = statistics.median(a["wall"] / b["wall"] for a, b in zip(first.runs, tool.runs))
        ratio, wanted = f"wall {gain:.2f}x", "wall 1.9x"
    # The system counts a child's peak from that of its parent on.
    floor, peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, median(tool, "peak")
    memory = f"{peak / 1e6:.0f}" if peak > floor else f"<{floor / 1e6:.0f}"
    return [job, tool.name, tool.file, f"{megabytes:.1f}", kept, f"{speed:.0f}" if speed >= 100 else f"{speed:.3g}",
            f"{median(tool, 'wall'):.3g}", memory, ratio, wanted]


def print_table(rows):
    head = ["job", "tool", "file", "MB", "kept", "MB/CPU-s", "wall s", "peak MB", "ds-clean", "wanted"]
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")


def install(venv):
    python = venv / "bin" / "python"
    stamp, requirements = venv / "installed.txt", HERE / "clean_requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
        stamp.write_bytes(requirements.read_bytes())
    return python


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def print_setting(build, venv, paths, sizes, args):
    print(f"{processor()}, {os.cpu_count()} cores; load before: {os.getloadavg()[0]:.1f}; medians of {args.runs} runs")
    version = subprocess.run([build / "ds-clean", "--version"], capture_output=True, text=True, check=True).stdout
    wanted = ("datasketch", "rensa", "gaoya", "datatrove", "spacy", "orjson", "xxhash")
    library = next(venv.glob("lib/python*/site-packages"))
    found = {d.metadata["Name"].lower(): d.version for d in distributions(path=[str(library)])}
    print(version.splitlines()[0] + "; Python " + sys.version.split()[0] + "; " +
          ", ".join(f"{name} {found[name]}" for name in wanted if name in found))
    for name in ("corpus", "copies", "sample"):
        records = sum(1 for _ in open(paths[name], "rb"))
        print(f"{name}: {sizes[name] / 1e6:.1f} MB, {records} records")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description="ds-clean next to its peers")
    jobs = make_jobs()
    parser.add_argument("--runs", type=int, default=5, help="rounds (5)")
    parser.add_argument("--jobs", default=",".join(jobs), help=f"some of {','.join(jobs)}")
    parser.add_argument("--copies", type=int, default=4, help="size of the large file in corpora (4; at most 26)")
    parser.add_argument("--sample", type=int, default=10, help="the slow peers see every N-th record (10)")
    parser.add_argument("build", type=Path)
    parser.add_argument("corpus", type=Path)
    args = parser.parse_args()
    if not args.corpus.exists():
        subprocess.run([HERE.parent / "examples/demo/corpus.sh", "--no-install", args.corpus], check=True)
    build = args.build.resolve()
    venv = build / "venv"
    places = {"build": str(build), "python": str(install(venv))}
    with tempfile.TemporaryDirectory(prefix="bench-clean.") as folder:
        paths, sizes = make_files(args.corpus, Path(folder), args.copies, args.sample)
        print_setting(build, venv, paths, sizes, args)
        rows = []
        for job in args.jobs.split(","):
            for _ in range(args.runs):
                for tool in jobs[job]:
                    tool.runs.append(run(tool, places, paths[tool.file], Path(folder) / "out.jsonl"))
            rows += [row(job, tool, jobs[job][0], sizes) for tool in jobs[job]]
        print_table(rows)
    print(f"\nload after: {os.getloadavg()[0]:.1f}. Column ds-clean: how many times a tool's MB/CPU-s it reaches.")


if __name__ == "__main__":
    main()
