#!/usr/bin/env python3
"""Prompts with their intent, from templates.txt and fillers.txt: JSONL {"text", "label"} on standard output.

usage: make_intents.py [PROMPTS_PER_INTENT [SEED]]

An intent's prompts are spread evenly over its templates; doubles are left out. Equal arguments give equal bytes: random.random() of a seeded generator is the same in every Python 3.
"""
import collections
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def read_lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                head, colon, rest = line.partition(": ")
                if not colon:
                    sys.exit(f"{name}:{number}: expected 'NAME: text'")
                yield number, head, rest


def parse(text, at, fillers, closing):
    """The alternatives of text from `at` up to `closing`, each a list of strings and choices; and the place after them."""
    alternatives, parts = [], []
    while at < len(text) and text[at] != closing:
        c = text[at]
        at += 1
        if c == "\\":
            parts.append({"n": "\n"}.get(text[at], text[at]))
            at += 1
        elif c == "(":
            inner, at = parse(text, at, fillers, ")")
            # Round brackets around a single alternative are brackets.
            parts += ["(", *inner[0], ")"] if len(inner) == 1 else [inner]
            at += 1
        elif c == "|" and closing:
            alternatives.append(parts)
            parts = []
        elif c == "{":
            end = text.index("}", at)
            parts.append([[phrase] for name in text[at:end].split("|") for phrase in fillers[name]])
            at = end + 1
        else:
            parts.append(c)
    if closing and at == len(text):
        sys.exit(f"templates.txt: no '{closing}' in: {text}")
    return alternatives + [parts], at


def expand(parts, generator):
    return "".join(part if isinstance(part, str) else expand(part[int(generator.random() * len(part))], generator) for part in parts)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    generator = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    fillers = {name: rest.split("; ") for _, name, rest in read_lines("fillers.txt")}
    templates = list(read_lines("templates.txt"))
    of_label = collections.Counter(label for _, label, _ in templates)
    seen = set()
    for number, label, text in templates:
        try:
            parts = parse(text, 0, fillers, "")[0][0]
        except (KeyError, ValueError) as error:
            sys.exit(f"templates.txt:{number}: no filler {error}")
        for _ in range(count // of_label[label]):
            prompt = expand(parts, generator)
            if prompt not in seen:
                seen.add(prompt)
                print(json.dumps({"text": prompt, "label": label}, ensure_ascii=False))


if __name__ == "__main__":
    main()
