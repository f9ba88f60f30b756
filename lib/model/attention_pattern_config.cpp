// Attention patterns in config.json.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/architecture.h"

namespace ds {

using Kind = AttentionPattern::Kind;

namespace {

struct PatternName {
  std::string_view name;
  Kind kind;
};
// Heads with windows beside heads without are attention as it is, with a window of some heads.
constexpr PatternName kPatternNames[] = {{"full", Kind::all},           {"local_global", Kind::all}, {"block_sparse", Kind::block_sparse},
                                         {"learned", Kind::learned},    {"pooled", Kind::pooled},    {"compressed", Kind::compressed},
                                         {"lsh", Kind::lsh}};

std::string_view pattern_name(const Config& config) {
  if (config.attention_local_heads > 0) return "local_global";
  return std::find_if(std::begin(kPatternNames), std::end(kPatternNames), [&](const PatternName& n) { return n.kind == config.pattern.kind; })->name;
}

// A number of config.json that a pattern keeps as an int.
int small(const ConfigReader& keys, std::string_view key, int64_t fallback, int64_t least, int64_t most) {
  const int64_t value = keys.count_or(key, fallback);
  require(value >= least && value <= most, keys.at(key), " is ", value, "; it has to be from ", least, " to ", most);
  return static_cast<int>(value);
}

void parse_lsh(const ConfigReader& keys, AttentionPattern& p) {
  p.lsh_rounds = small(keys, "attention_lsh_rounds", 2, 1, 64);
  p.lsh_buckets = small(keys, "attention_lsh_buckets", 32, 2, 4096);
  require(p.lsh_buckets % 2 == 0, keys.at("attention_lsh_buckets"), " is ", p.lsh_buckets, "; it has to be even");
  p.lsh_keys = small(keys, "attention_lsh_keys", 64, 1, 1 << 20);
}

}  // namespace

bool has_attention_keys(const Config& c) {
  return c.pattern.kind != Kind::all || c.attention_local_heads > 0 || c.score_norm || c.pattern.position_buckets > 0;
}

void parse_attention_keys(const ConfigReader& keys, Config& config) {
  const std::string name = keys.string_or("attention_pattern", "full");
  const auto* const found = std::find_if(std::begin(kPatternNames), std::end(kPatternNames), [&](const PatternName& n) { return n.name == name; });
  require(found != std::end(kPatternNames), keys.at("attention_pattern"), " is \"", shown(name),
          "\"; full, local_global, block_sparse, learned, pooled, compressed and lsh are known");
  AttentionPattern& p = config.pattern;
  p.kind = found->kind;
  constexpr int64_t kMost = int64_t{1} << 24;  // blocks, tokens
  const auto blocks = static_cast<int>(std::min(kMost, (config.max_position_embeddings + kKeyBlock - 1) / kKeyBlock));
  if (p.kind == Kind::block_sparse || p.kind == Kind::learned || p.kind == Kind::compressed)
    p.local_blocks = small(keys, "attention_local_blocks", 4, 1, kMost);
  if (p.kind == Kind::block_sparse) {
    p.stride = 1;
    while (int64_t{p.stride} * p.stride < blocks) ++p.stride;
    p.stride = small(keys, "attention_stride_blocks", p.stride, 1, kMost);
  }
  if (p.kind == Kind::learned) {
    p.max_blocks = blocks;
    p.global_blocks = small(keys, "attention_global_blocks", 4, 1, kMost);
  }
  if (p.kind == Kind::lsh) parse_lsh(keys, p);
  if (p.kind == Kind::pooled || name == "local_global") config.attention_window = small(keys, "attention_window", 128, 1, kMost);
  if (name == "local_global") {
    const int64_t heads = config.kv_heads();
    config.attention_local_heads = small(keys, "attention_local_heads", heads / 2, 1, std::max<int64_t>(1, heads - 1));
    require(heads > 1, keys.at("attention_pattern"), " is \"local_global\", which takes at least two key heads");
  }
  config.score_norm = keys.flag_or("attention_score_norm", false);
  p.position_buckets = small(keys, "attention_position_buckets", 0, 0, 4096);
  if (p.position_buckets) p.position_max_distance = small(keys, "attention_position_max_distance", 128, p.position_buckets / 2 + 1, 1 << 20);
  require(p.position_buckets != 1, keys.at("attention_position_buckets"), " is 1; two at least make a difference");

  require(!has_attention_keys(config) || !config.is_mla(), keys.at("attention_pattern"), " and the keys beside it are for multi-head attention, and this is latent attention");
  require(!config.score_norm || !config.norm_plus_one, keys.at("attention_score_norm"), " is not supported for an architecture whose norms multiply by 1 + w");
}

void write_attention_keys(const Config& c, JsonWriter& json) {
  const AttentionPattern& p = c.pattern;
  json.field("attention_pattern", std::string(pattern_name(c)));
  const auto number = [&](std::string_view key, int64_t value) {
    if (value) json.field(key, value);
  };
  number("attention_local_blocks", p.local_blocks);
  number("attention_stride_blocks", p.stride);
  number("attention_global_blocks", p.global_blocks);
  number("attention_window", c.attention_window);
  number("attention_local_heads", c.attention_local_heads);
  number("attention_lsh_rounds", p.lsh_rounds);
  number("attention_lsh_buckets", p.lsh_buckets);
  number("attention_lsh_keys", p.lsh_keys);
  if (c.score_norm) json.field("attention_score_norm", true);
  number("attention_position_buckets", p.position_buckets);
  number("attention_position_max_distance", p.position_max_distance);
}

}  // namespace ds
