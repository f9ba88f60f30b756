#!/bin/bash
# near_dedup_examples.sh BUILD SOURCE: examples/near-dedup-sort, which compares the two halves with the one-process run,
# on made sets with planted near duplicates, whose number is known. The example with Spark is left out: it needs PySpark
# and Java.
set -eu -o pipefail
build=$1 source=$2
for tool in make zstd split; do
  command -v "$tool" > /dev/null || { echo "no $tool: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# 120 texts of 80 words. Of each a copy with another last word follows 120 records later (75 of the 77 runs of 5 words
# in the two are in both), and 120 later one with every third word changed, which is no near duplicate. Ids are numbers,
# strings, or absent; four lines are no records.
awk 'BEGIN {
  for (copy = 0; copy < 3; ++copy)
    for (i = 0; i < 120; ++i) {
      text = ""
      for (k = 0; k < 80; ++k)
        text = text (copy == 1 && k == 79 || copy == 2 && k % 3 == 2 ? "other" i : "w" i) "x" k " "
      n = copy * 120 + i
      id = n % 3 == 0 ? "\"id\": " n ", " : n % 3 == 1 ? "\"id\": \"d\\u00e9 " n "\", " : ""
      printf "{%s\"text\": \"%s\"}\n", id, text
      if (n % 90 == 89) print "no record"
    }
}' > "$work/set.jsonl"

example() { env -u MAKEFLAGS -u MAKELEVEL make -s -j2 -C "$source/examples/near-dedup-sort" DS="$build/" "$@" 2>&1 || { echo "make $* failed"; exit 1; }; }
# check FOLDER KEPT REJECTED
check() {
  kept=$(wc -l < "$1/kept.jsonl") rejected=$(wc -l < "$1/rejects.jsonl")
  [ "$kept $rejected" = "$2 $3" ] || { echo "$1: $kept records kept and $rejected rejected, expected $2 and $3"; exit 1; }
}

example DATA="$work/set.jsonl" OUT="$work/split" PARTS=10
check "$work/split" 240 124
example DATA="$work/set.jsonl" OUT="$work/strict" PARTS=3 FLAGS='--near 0.99 --seed 5'
check "$work/strict" 360 4

# Shards that are there already, one of them compressed, in an order that is not that of their names.
zstd -q "$work/split/shard.02.jsonl" -o "$work/b.jsonl.zst"
cat "$work"/split/shard.0[13-9].jsonl "$work/split/shard.10.jsonl" > "$work/a.jsonl"
example SHARDS="$work/b.jsonl.zst $work/a.jsonl" OUT="$work/given" FLAGS='--near 0.8 --shingle char:13'
check "$work/given" 240 124
