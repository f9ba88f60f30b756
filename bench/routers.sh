#!/bin/bash
# The table of docs/routers.md: one small model trained with each router, on the same text, for equal steps.
#   bench/routers.sh BUILD_DIR TRAIN.jsonl HELDOUT.jsonl OUT_DIR
# STEPS, BATCH, SEED: of each run. Runs that are there already are kept.
set -euo pipefail
build=$1 train=$2 heldout=$3 out=$4
steps=${STEPS:-600} batch=${BATCH:-8} seed=${SEED:-0}
mkdir -p "$out"
[ -e "$out/tokenizer.json" ] || "$build/ds-train" tokenizer -q --vocab-size 1024 --pretokenizer llama3 "$train" -o "$out/tokenizer.json"

base='{architectures: ["DsForCausalLM"], model_type: "ds", base_model_type: "qwen3_moe", vocab_size: 1024, hidden_size: 64,
  num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, max_position_embeddings: 128, num_experts: 16,
  num_experts_per_tok: 2, moe_intermediate_size: 64, norm_topk_prob: true, tie_word_embeddings: true, rms_norm_eps: 1e-6}'
plain='{architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", base_model_type: null}'

echo '| router | held-out loss | utilisation | max/mean load | entropy | experts a token | to the fallback |'
echo '| --- | --- | --- | --- | --- | --- | --- |'
# NAME, what it adds to config.json, options
router() {
  local name=$1 keys=$2
  shift 2
  local dir="$out/${name//[^a-z0-9]/-}"
  if [ ! -e "$dir/model.safetensors" ]; then
    jq -n "$base + $keys" > "$out/config.json"
    "$build/ds-train" pretrain -q --init "$out/config.json" --tokenizer "$out/tokenizer.json" --data "$train" --eval-data "$heldout" \
      --steps "$steps" --batch-size "$batch" --sequence-length 128 --learning-rate 3e-3 --warmup-steps 50 --checkpoint-every 0 --seed "$seed" \
      "$@" --report "$dir.report.json" -o "$dir"
  fi
  # The load is that of the last tenth of the steps.
  tail -n $((steps / 10)) "$dir/metrics.jsonl" | jq -rs --arg name "$name" --slurpfile report "$dir.report.json" '
    def mean(f): map(f) | add / length;
    def round3: . * 1000 | round / 1000;
    "| \($name) | \([$report[0] | .. | .eval_loss? // empty][0] | round3) | \(mean(.expert_utilisation) * 100 | round) % | " +
    "\(mean(.expert_load_max_mean) | round3) | \(mean(.router_entropy) | round3) | \(mean(.experts_per_token) | round3) | " +
    "\(mean(.fallback_share) * 100 | round) % |"'
}
router 'top-k alone' "$plain"
router 'top-k, balance loss 0.01' "$plain" --router-aux-loss 0.01
router 'top-k, z-loss 0.001' "$plain" --router-z-loss 0.001
router 'entropy fallback at 0.95' '{router_type: "entropy_fallback", router_entropy_threshold: 0.95}'
router 'entropy fallback at 0.999' '{router_type: "entropy_fallback", router_entropy_threshold: 0.999}'
router 'adaptive' '{router_type: "adaptive"}'
router 'three layers' '{router_type: "three_layer", n_group: 4, topk_group: 2}'
router 'three layers, rate 0.1' '{router_type: "three_layer", n_group: 4, topk_group: 2}' --router-feedback-rate 0.1
router 'confidence 0.4, 2 to 4' '{router_type: "confidence", router_confidence: 0.4, num_experts_per_tok: 4}'
router 'top-k, expert attention' '{router_expert_attention: true}'
