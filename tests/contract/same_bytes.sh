#!/bin/bash
# same_bytes.sh BUILD SOURCE: the demo's pipeline on the project's own sources, at a small size, three times: with one
# thread; with two threads and killed by SIGKILL in training, then resumed; and with AVX2 forced. Every artifact must have
# the same SHA-256. Reports hold times and are left out; metrics are compared without tokens_per_second and seconds_waiting.
set -eu -o pipefail
build=$1 source=$2
for tool in make jq xz bzip2; do
  command -v "$tool" > /dev/null || { echo "no $tool: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/config.json" <<'CONFIG'
{"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
 "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 64, "kv_lora_rank": 64,
 "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 32, "first_k_dense_replace": 1, "n_routed_experts": 16,
 "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2, "moe_intermediate_size": 64, "norm_topk_prob": true,
 "scoring_func": "sigmoid", "topk_method": "noaux_tc", "routed_scaling_factor": 1.0, "max_position_embeddings": 128,
 "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": false,
 "initializer_range": 0.02}
CONFIG

# The corpus: a record for each header and man page.
(cd "$source" && find lib man -name '*.h' -o -name '*.[157]' | LC_ALL=C sort | while read -r file; do
  jq -cRs --arg id "$file" '{id: $id, text: .}' < "$file"
done) > "$work/corpus.jsonl"

# run NAME [VARIABLE=VALUE...]: the pipeline into $work/NAME.
run() {
  local out=$work/$1
  shift
  mkdir -p "$out"
  [ -e "$out/debian.jsonl" ] || cp "$work/corpus.jsonl" "$out/debian.jsonl"
  make -C "$source/examples/demo" DS="$build/" OUT="$out" -o "$source/examples/demo/corpus.sh" "$@" \
    CLEAN_FLAGS='--exact --near 0.8' SPLIT_FLAGS='--held-out 0.2' TOKENIZER_FLAGS='--vocab-size 512 --pretokenizer llama3' \
    TRAIN_FLAGS="--init $work/config.json --steps 60 --batch-size 4 --sequence-length 64 --learning-rate 5e-3 --warmup-steps 4 --schedule cosine --router-bias-update-rate 0.01 --router-aux-loss 0.01 --weight-field augment.weight --checkpoint-every 5" \
    QUANTIZE_FLAGS='--method awq --group-size 64 --calibration-samples 8 --calibration-length 128' EVAL_FLAGS='--cloze-items 10' > "$out.log" 2>&1
}
hashes() {
  (cd "$work/$1" && find . -type f ! -name '*.report.json' ! -name 'report.*' ! -name '*.flags' ! -name metrics.jsonl ! -path '*/checkpoints/*' |
    LC_ALL=C sort | xargs sha256sum
   jq -c 'del(.tokens_per_second, .seconds_waiting)' debian.model/metrics.jsonl | sha256sum)
}
show() { tail -5 "$work/$1.log"; exit 1; }

run one 'DS_FLAGS=-j 1' || show one
mkdir -p "$work/killed"
(
  for _ in $(seq 1 2000); do
    if ls "$work/killed/debian.model/checkpoints" 2> /dev/null | grep -q step; then
      pkill -9 -f "ds-train pretrain.*$work/killed" && touch "$work/was_killed"
      exit 0
    fi
    sleep 0.01
  done
) &
run killed 'DS_FLAGS=-j 2' || true
wait
[ -e "$work/was_killed" ] || { echo "training ended before it could be killed"; exit 1; }
run killed 'DS_FLAGS=-j 2' || show killed
DS_SIMD=avx2 run avx2 'DS_FLAGS=-j 2' || show avx2
hashes one > "$work/one.sha"
[ "$(wc -l < "$work/one.sha")" -ge 20 ] || { echo "fewer artifacts than the pipeline makes:"; cat "$work/one.sha"; exit 1; }
for other in killed avx2; do
  hashes "$other" | diff "$work/one.sha" - || { echo "one thread and '$other' differ"; exit 1; }
done
echo "the same bytes: $(wc -l < "$work/one.sha") artifacts, one thread, two threads killed and resumed, AVX2"
