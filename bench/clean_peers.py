"""One peer of ds-clean over one file: clean_peers.py TOOL IN.jsonl OUT.jsonl

Prints what it took as JSON: user and system seconds, wall seconds, records read and kept. The clock starts when the
libraries are imported and their models built, so a peer is not charged for the start of Python; ds-clean is charged for
its own. Each peer is used in the fastest way that its documentation shows; all read JSON with orjson unless they are
named otherwise, and write the lines that stay as they were read.

Near-duplicates: 5 words in a row of the text in lower case (\\w+), 128 permutations, threshold 0.8. The peers estimate
and drop what they take for near; ds-clean compares the sets themselves.
"""

import json
import re
import resource
import sys
import time

THRESHOLD, PERMUTATIONS, SHINGLE = 0.8, 128, 5
WORD = re.compile(r"\w+")


def shingles(text):
    words = WORD.findall(text.lower())
    if len(words) <= SHINGLE:
        return [" ".join(words)]
    return [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]


def lines_and_texts(path):
    import orjson

    with open(path, "rb") as file:
        for line in file:
            yield line, orjson.loads(line)["text"]


def filtered(path, out, keeps):
    """Writes the lines whose text keeps() is true of; the numbers of lines read and written."""
    read = kept = 0
    with open(out, "wb") as to:
        for line, text in lines_and_texts(path):
            read += 1
            if keeps(text):
                kept += 1
                to.write(line)
    return read, kept


def datasketch_job(**options):
    import datasketch

    # The permutations are made once, as the documentation advises for many sketches.
    first = datasketch.MinHash(num_perm=PERMUTATIONS, **options)

    def run(path, out):
        index = datasketch.MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
        count = 0

        def keeps(text):
            nonlocal count
            sketch = first.copy()
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])
            if index.query(sketch):
                return False
            index.insert(count, sketch, check_duplication=False)
            count += 1
            return True

        return filtered(path, out, keeps)

    return run


def datasketch_peer():
    return datasketch_job()


def datasketch_xxh_peer():
    import xxhash

    return datasketch_job(hashfunc=xxhash.xxh32_intdigest)


def rensa_peer():
    import rensa

    def run(path, out):
        deduplicator = rensa.RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
        lines = []

        def pairs():
            for line, text in lines_and_texts(path):
                lines.append(line)
                yield str(len(lines)), shingles(text)

        keep = deduplicator.add_pairs(pairs())
        with open(out, "wb") as to:
            to.writelines(line for line, stays in zip(lines, keep) if stays)
        return len(lines), sum(keep)

    return run


def rensa_c_peer():
    import rensa

    def run(path, out):
        deduplicator = rensa.CMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS)
        lines = []

        def pairs():
            for line, text in lines_and_texts(path):
                lines.append(line)
                yield str(len(lines)), shingles(text)

        keep = deduplicator.add_pairs(pairs())
        with open(out, "wb") as to:
            to.writelines(line for line, stays in zip(lines, keep) if stays)
        return len(lines), sum(keep)

    return run


def rensa_rho_peer():
    """Rensa's batch pipeline: it looks at some of the shingles only, and marks all members of a group as duplicates."""
    import rensa

    def run(path, out):
        lines = []

        def sets():
            for line, text in lines_and_texts(path):
                lines.append(line)
                yield shingles(text)

        matrix = rensa.RMinHash.digest_matrix_from_token_sets_rho(sets(), PERMUTATIONS, 42)
        index = rensa.RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
        flags = index.query_duplicate_flags_matrix_one_shot(matrix)
        with open(out, "wb") as to:
            to.writelines(line for line, flagged in zip(lines, flags) if not flagged)
        return len(lines), len(lines) - sum(flags)

    return run


def gaoya_job(**options):
    from gaoya.minhash import MinHashStringIndex

    def run(path, out):
        index = MinHashStringIndex(
            hash_size=32, jaccard_threshold=THRESHOLD, num_bands=None, band_size=None, num_hashes=PERMUTATIONS, **options
        )
        count = 0
        native = index.minhash_index if callable(options["analyzer"]) else None

        def keeps(text):
            nonlocal count
            if native:  # split the text once for both calls
                text = shingles(text)
                if native.query_tokens(text):
                    return False
                native.insert_tokens(count, text)
            else:
                if index.query(text):
                    return False
                index.insert_document(count, text)
            count += 1
            return True

        return filtered(path, out, keeps)

    return run


def gaoya_peer():
    return gaoya_job(analyzer=shingles)


def gaoya_native_peer():
    """Its own analyzer in Rust, whose words are what lies between white space."""
    return gaoya_job(analyzer="word", lowercase=True, ngram_range=(SHINGLE, SHINGLE))


def exact_job(loads):
    from xxhash import xxh3_128_digest

    def run(path, out):
        seen = set()
        read = 0
        with open(path, "rb") as file, open(out, "wb") as to:
            for line in file:
                read += 1
                digest = xxh3_128_digest(loads(line)["text"].encode())
                if digest not in seen:
                    seen.add(digest)
                    to.write(line)
        return read, len(seen)

    return run


def xxh3_set_peer():
    return exact_job(json.loads)


def xxh3_set_orjson_peer():
    import orjson

    return exact_job(orjson.loads)


def datatrove_peer():
    """A document that one filter drops is not shown to the next ones; ds-clean measures all signals of each."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_words

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    split_into_words("Builds the tokenizer.")

    def run(path, out):
        import orjson

        read = kept = 0
        with open(path, "rb") as file, open(out, "wb") as to:
            for line in file:
                read += 1
                record = orjson.loads(line)
                document = Document(text=record["text"], id=record["id"])
                if all(f.filter(document) is True for f in filters):
                    kept += 1
                    record["text"] = document.text
                    to.write(orjson.dumps(record) + b"\n")
        return read, kept

    return run


def main():
    tool, path, out = sys.argv[1:]
    run = globals()[tool + "_peer"]()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    read, kept = run(path, out)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": wall, "read": read, "kept": kept}))


if __name__ == "__main__":
    main()
