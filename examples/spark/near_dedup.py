"""The keys of near deduplication, made and grouped by Spark.

    near_dedup.py [--ds-clean PATH] [--partitions N] [--flags "--near 0.8"] --out FOLDER FILE...

Maps each partition of the records through `ds-clean signatures`, brings equal keys together, keeps those that two or
more records have, and writes the lines to FOLDER: a part per partition, in each the lines of equal keys one after the
other. The parts, one after the other in any order, are what `ds-clean cluster --signatures` reads.
"""
import argparse
import itertools
import os
import shlex

from pyspark import SparkConf, SparkContext


def partition_of(key):
    """A key is 16 hexadecimal digits of a hash: its first 8 spread over the partitions as well as any."""
    return int(key[:8], 16)


def shared(pairs):
    """The lines of the keys that more than one of the sorted pairs has; holds one line, however large a group is."""
    for key, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        first = next(group)[1]
        for _, record in group:
            if first is not None:
                yield f"{key}\t{first}"
                first = None
            yield f"{key}\t{record}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSONL records with ids, or any address that Spark reads")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the lines go; must not be there yet")
    parser.add_argument("--ds-clean", default="ds-clean", metavar="PATH", help="the tool, at the same place on each worker")
    parser.add_argument("--flags", default="--near 0.8", help="options that `ds-clean cluster` must be given too")
    parser.add_argument("--partitions", type=int, default=0, metavar="N", help="of the sort; 0: as many as the input has")
    options = parser.parse_args()

    # A line ends at its line feed and nowhere else, as for ds-clean.
    conf = SparkConf().setAppName("near-dedup").set("spark.hadoop.textinputformat.record.delimiter", "\n")
    context = SparkContext(conf=conf)
    records = context.textFile(",".join(options.files))
    # One thread a process, for Spark runs one process a core. checkCode: a record without an id, or a bad line, ends
    # the job. Without an env the process would have none, not even PATH.
    command = f"{shlex.quote(options.ds_clean)} signatures -j 1 {options.flags}"
    lines = records.pipe(command, env=dict(os.environ), checkCode=True)
    pairs = lines.map(lambda line: line.split("\t", 1))
    partitions = options.partitions or records.getNumPartitions()
    grouped = pairs.repartitionAndSortWithinPartitions(partitions, partition_of)
    grouped.mapPartitions(shared).saveAsTextFile(options.out)
    context.stop()


if __name__ == "__main__":
    main()
