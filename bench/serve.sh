#!/bin/bash
# A bounded load on ds-run serve, on this machine only: bench/serve.sh BUILD_FOLDER MODEL [REQUESTS [CLIENTS]]
#
# 1. ab: REQUESTS (100,000) short completions by CLIENTS (32) at once over kept connections, in ten parts: errors, times
#    to the end of an answer, and the memory after each part, which must not grow.
# 2. wrk: 20 seconds of streamed answers to ever new prompts by as many clients.
# Needs Debian's apache2-utils and wrk. What the server counted stands at the end.
set -eu
tools=$1 model=$2 requests=${3:-100000} clients=${4:-32}
work=$(mktemp -d)
trap 'kill $server 2> /dev/null || true; rm -rf "$work"' EXIT
touch "$work/log"
"$tools/ds-run" serve --model "$model" --model-name m --port 0 2> "$work/log" &
server=$!
for ((i = 0; i < 6000; ++i)); do grep -q serving "$work/log" && break; sleep 0.01; done
url=$(sed -n 's/.* on //p' "$work/log")
memory() { awk '/VmRSS/ {printf "%.1f MB", $2 / 1024}' /proc/$server/status; }
processor() { awk '{print $14 + $15}' /proc/$server/stat; }

echo '{"model": "m", "prompt": "Once upon a time", "max_tokens": 4, "temperature": 0.8}' > "$work/body"
echo "ab: $requests requests of 5 tokens for 4 more, $clients clients; memory at the start: $(memory)"
for part in 1 2 3 4 5 6 7 8 9 10; do
  ab -q -k -n $((requests / 10)) -c "$clients" -p "$work/body" -T application/json "$url/v1/completions" > "$work/ab" 2> "$work/ab.err" ||
    { cat "$work/ab.err"; exit 1; }
  printf 'part %2d: ' $part
  awk '/^Requests per second/ {rate = $4} /^Failed requests/ {failed = $3} /^Non-2xx/ {wrong = $3} /^ *50%/ {p50 = $2} /^ *99%/ {p99 = $2} /^ *100%/ {max = $2}
    END {printf "%8.1f requests/s, p50 %d ms, p99 %d ms, longest %d ms, failed %d, not 200: %d; ", rate, p50, p99, max, failed, wrong}' "$work/ab"
  memory && echo
done

cat > "$work/stream.lua" <<'LUA'
local count = 0
local starts = {"Once upon a time", "One day a girl", "The dog ran", "Tom and Sue", "There was a big"}
request = function()
  count = count + 1
  local body = string.format('{"model": "m", "prompt": "%s %d", "max_tokens": 32, "temperature": 0.8, "stream": true}', starts[count % 5 + 1], count)
  return wrk.format("POST", "/v1/completions", {["Content-Type"] = "application/json"}, body)
end
LUA
echo "wrk: streams of 32 tokens, $clients clients, 20 seconds"
before=$(processor)
wrk -t 1 -c "$clients" -d 20 --latency -s "$work/stream.lua" "$url" | grep -E "50%|90%|99%|requests in|Requests/sec|Non-2xx|Socket errors"
echo "processor time of the server: $(( ($(processor) - before) * 1000 / $(getconf CLK_TCK) )) ms; memory: $(memory)"

{ printf 'GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' >&3; cat <&3; } 3<> "/dev/tcp/127.0.0.1/${url##*:}" |
  grep -E '^ds_(requests_total|request_errors|time_to_first_token_seconds_(bucket|sum|count)|generated|failed|cancelled|preemptions)' > "$work/metrics"
grep -v _bucket "$work/metrics"
awk -F '[" ]' '/_bucket/ {le[++n] = $2; count[n] = $NF} END {for (i = 1; i <= n; ++i) if (count[i] >= 0.99 * count[n]) {
  print "time to first token: p99 at most", le[i], "s, over both loads"; exit}}' "$work/metrics"
kill -TERM $server
wait $server
echo "exit $?"
