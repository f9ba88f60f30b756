#!/bin/sh
# corpus.sh [--no-install] OUT.jsonl: the documents on this machine's disk as JSONL {"id", "text", "source"}, 30 to 60 MB:
# man pages, HTML and plain documentation, info pages, changelogs, copyright files and licences. Where that is less than
# 30 MB, the packages of packages.txt are installed first. The same disk gives the same bytes.
set -eu
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
install=yes
if [ "${1-}" = --no-install ]; then install=no; shift; fi
[ $# = 1 ] || { echo "usage: corpus.sh [--no-install] OUT.jsonl" >&2; exit 2; }
out=$1
for tool in mandoc awk gzip iconv xargs split find; do
  command -v "$tool" >/dev/null || { echo "corpus.sh: $tool was not found (packages.txt names its package)" >&2; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/corpus.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# list KIND: the files of a kind, sorted. What a symbolic link leads to is found under its own name.
list() {
  case $1 in
    man) find /usr/share/man/man[1-8] -type f -name '*.gz' ;;
    html) find /usr/share/doc /usr/share/debian-* /usr/share/developers-reference -type f -name '*.html' ! -name 'genindex*' ! -name 'search.html' ;;
    doc) find /usr/share/doc -type f -size -400k \( -name '*.txt' -o -name '*.txt.gz' -o -name '*.md' -o -name '*.md.gz' \
      -o -name '*.rst' -o -name '*.rst.gz' -o -name 'README*' -o -name 'NEWS*' -o -name 'FAQ*' -o -name 'TODO*' \) \
      ! -name '*.html*' ! -name '*.xml*' ! -path '*/_sources/*' ;;
    info) find /usr/share/info -type f -name '*info*.gz' ;;
    changelog) find /usr/share/doc -type f -name 'changelog*' ! -name '*.html*' ;;
    copyright) find /usr/share/doc -type f -name copyright ;;
    license) find /usr/share/common-licenses -type f ;;
  esac 2>/dev/null | sort
}

# collect KIND MEGABYTES: appends at most so much of a kind to the corpus. The files are taken at even distances
# over the whole list, so a cap favours no letter of the alphabet.
collect() {
  kind=$1
  limit=$(($2 * 1000000))
  rm -f "$work"/part.*
  list "$kind" > "$work/list"
  # Bytes on disk that will do for the limit: tags make most of HTML, and compressed text unpacks to three times its size.
  case $kind in man | info) budget=$limit ;; html) budget=$((limit * 6)) ;; *) budget=$((limit * 2)) ;; esac
  tr '\n' '\0' < "$work/list" | xargs -0 -r stat -c '%s %n' |
    awk -v most="$budget" '
      { size[NR] = $1 + 0; total += $1; sub(/^[0-9]+ /, ""); path[NR] = $0 }
      END {
        step = total > most ? total / most : 1
        for (i = 1; i <= NR; i++) if (int(i / step) != int((i - 1) / step)) print path[i]
      }' > "$work/chosen"
  split -l 64 -a 4 "$work/chosen" "$work/part."
  find "$work" -name 'part.*' | sort |
    xargs -r -n 1 -P "$(nproc)" sh -c 'awk -v kind="$1" -f "$2" "$3" > "$3.out"' sh "$kind" "$here/corpus.awk"
  find "$work" -name 'part.*.out' | sort | xargs -r cat | tr -d '\000' | iconv -c -f UTF-8 -t UTF-8 > "$work/kind.jsonl" || true
  awk -v limit="$limit" -v size="$(wc -c < "$work/kind.jsonl")" '
    BEGIN { step = size > limit ? size / limit : 1 }
    int(NR / step) != int((NR - 1) / step)' "$work/kind.jsonl" > "$work/kept.jsonl"
  cat "$work/kept.jsonl" >> "$work/corpus.jsonl"
  echo "corpus.sh: $kind: $(wc -l < "$work/chosen") of $(wc -l < "$work/list") files, $(wc -c < "$work/kept.jsonl") bytes" >&2
}

build() {
  : > "$work/corpus.jsonl"
  collect man 19
  collect html 16
  collect doc 10
  collect info 4
  collect changelog 4
  collect copyright 6
  collect license 1
}

build
if [ "$(wc -c < "$work/corpus.jsonl")" -lt 30000000 ] && [ $install = yes ]; then
  echo "corpus.sh: less than 30 MB of text here: adding documentation packages" >&2
  # Container images often leave documentation out by path-exclude in dpkg's configuration; a later path-include wins.
  "$here/../../scripts/setup" "$here/packages.txt" \
    -o 'DPkg::Options::=--path-include=/usr/share/doc/*' -o 'DPkg::Options::=--path-include=/usr/share/man/*' \
    -o 'DPkg::Options::=--path-include=/usr/share/info/*' >&2 ||
    echo "corpus.sh: they could not be installed; going on with what is here" >&2
  build
fi
size=$(wc -c < "$work/corpus.jsonl")
[ "$size" -ge 1000000 ] || { echo "corpus.sh: only $size bytes of text were found under /usr/share" >&2; exit 1; }
if [ "$size" -lt 30000000 ]; then echo "corpus.sh: $size bytes of text are less than the 30 MB that the demo is made for" >&2; fi
mv "$work/corpus.jsonl" "$out.tmp"
mv "$out.tmp" "$out"
