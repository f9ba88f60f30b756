#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "model/architecture.h"

namespace ds {

constexpr double kTwoPi = 2 * std::numbers::pi;

// ---- config.json ----

// Bounds far from any real file's values, within which angles and amplitudes stay finite.
static double bounded(double value, const ConfigReader& keys, std::string_view key, double low, double high) {
  require(value >= low && value <= high, keys.at(key), " is ", value, "; it has to be from ", low, " to ", high);
  return value;
}

// longrope with one list for all lengths, which is also how llama3 stands in a GGUF file.
static void parse_factors(const ConfigReader& keys, const Config& config, RopeScaling& rope) {
  const Json *list = keys.find("short_factor"), *other = keys.find("long_factor");
  require(list && other && list->type == Json::Type::array && other->type == Json::Type::array, keys.at("short_factor"),
          " and long_factor have to be lists for longrope");
  require(list->items.size() == other->items.size() && 2 * static_cast<int64_t>(list->items.size()) == config.rope_dim(),
          keys.at("short_factor"), " and long_factor have ", list->items.size(), " and ", other->items.size(),
          " factors; heads of ", config.rope_dim(), " have half as many");
  for (size_t i = 0; i < list->items.size(); ++i) {
    const double factor = list->items[i].as_double(keys.at("short_factor"));
    require(factor == other->items[i].as_double(keys.at("long_factor")), keys.at("short_factor"),
            " and long_factor differ, which is not supported");
    bounded(factor, keys, "short_factor", 1e-3, 1e9);
    rope.factors.push_back(static_cast<float>(factor));
  }
  require(rope.attention_factor > 0, keys.at("attention_factor"), " is missing, which is not supported for longrope");
}

// One object of parameters; every key that a type of scaling has is known, whatever the type.
static void parse_scaling(const ConfigReader& keys, Config& config) {
  using Type = RopeScaling::Type;
  RopeScaling rope;
  const std::string type = keys.string_or("rope_type", keys.string_or("type", "default"));
  keys.ignore("type");
  if (type == "default") rope.type = Type::none;
  else if (type == "linear") rope.type = Type::linear;
  else if (type == "dynamic") rope.type = Type::dynamic;
  else if (type == "llama3") rope.type = Type::llama3;
  else if (type == "yarn") rope.type = Type::yarn;
  else if (type == "longrope") rope.type = Type::factors;
  else fail(keys.at("rope_type"), " is \"", type, "\"; default, linear, dynamic, llama3, yarn and longrope are supported");

  rope.original_max_position_embeddings = keys.size_or("original_max_position_embeddings", config.max_position_embeddings);
  double factor = 0;
  if (rope.type == Type::yarn)
    factor = static_cast<double>(config.max_position_embeddings) / static_cast<double>(rope.original_max_position_embeddings);
  rope.factor = keys.positive_or("factor", rope.type == Type::none || rope.type == Type::factors ? 1 : factor);
  require(rope.factor > 0, keys.at("factor"), " is missing");
  bounded(rope.factor, keys, "factor", 1e-3, 1e6);
  rope.low_freq_factor = keys.positive_or("low_freq_factor", 1);
  rope.high_freq_factor = keys.positive_or("high_freq_factor", 4);
  if (rope.type == Type::llama3)
    require(rope.high_freq_factor > rope.low_freq_factor, keys.at("high_freq_factor"), " has to be above low_freq_factor");
  auto zero_or_positive = [&](std::string_view key) {
    const Json* value = keys.find(key);
    if (!value || value->as_double(keys.at(key)) == 0) return 0.0;
    return bounded(keys.positive_or(key, 0), keys, key, 1e-3, 1e3);
  };
  rope.beta_fast = bounded(keys.positive_or("beta_fast", 32), keys, "beta_fast", 1e-6, 1e6);
  rope.beta_slow = bounded(keys.positive_or("beta_slow", 1), keys, "beta_slow", 1e-6, 1e6);
  rope.mscale = zero_or_positive("mscale");
  rope.mscale_all_dim = zero_or_positive("mscale_all_dim");
  rope.attention_factor = zero_or_positive("attention_factor");
  rope.truncate = keys.flag_or("truncate", true);
  if (rope.type == Type::factors) parse_factors(keys, config, rope);
  keys.only_number("partial_rotary_factor", 1);
  keys.ignore("finetuned");
  config.rope_theta = keys.positive_or("rope_theta", config.rope_theta);
  keys.check_all_read();
  if (rope.type == Type::none) rope = {};
  config.rope_scaling = rope;
}

// The v5 spelling of an architecture with a base for each kind of layer.
static void parse_local_rope(const ConfigReader& keys, Config& config) {
  keys.only_text("rope_type", "default");
  keys.only_text("type", "default");
  keys.only_number("partial_rotary_factor", 1);
  config.rope_local_base_freq = keys.positive_or("rope_theta", config.rope_local_base_freq);
  keys.check_all_read();
}

void parse_rope(const ConfigReader& keys, Config& config) {
  const bool two_kinds = config.rope_local_base_freq > 0;
  config.rope_theta = keys.positive_or("rope_theta", config.rope_theta);
  if (two_kinds) config.rope_local_base_freq = keys.positive_or("rope_local_base_freq", config.rope_local_base_freq);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* value = keys.find(key);
    if (!value) continue;
    require(value->type == Json::Type::object, keys.at(key), " is not an object");
    const ConfigReader parameters(*value, keys.at(key));
    const Json *full = two_kinds ? parameters.find("full_attention") : nullptr;
    const Json *local = two_kinds ? parameters.find("sliding_attention") : nullptr;
    if (full) parse_scaling(ConfigReader(*full, parameters.at("full_attention")), config);
    if (local) parse_local_rope(ConfigReader(*local, parameters.at("sliding_attention")), config);
    if (full || local) parameters.check_all_read();
    else parse_scaling(parameters, config);
  }
  require(config.rope_scaling.type != RopeScaling::Type::dynamic || config.rope_dim() > 2, keys.at("rope_scaling"),
          " is dynamic, which takes more than one pair of columns");
  require(config.rope_theta > 1, keys.at("rope_theta"), " is ", config.rope_theta, "; it has to be above 1");
  require(!two_kinds || config.rope_local_base_freq > 1, keys.at("rope_local_base_freq"), " is ", config.rope_local_base_freq,
          "; it has to be above 1");
}

static void write_scaling(const Config& config, JsonWriter& json) {
  const RopeScaling& rope = config.rope_scaling;
  using Type = RopeScaling::Type;
  static constexpr const char* kNames[] = {"default", "linear", "dynamic", "llama3", "yarn", "longrope"};
  const char* const name = kNames[static_cast<int>(rope.type)];
  json.field("rope_type", name).field("type", name);
  write_real(json, "factor", rope.factor);
  if (rope.type == Type::llama3) {
    write_real(json, "low_freq_factor", rope.low_freq_factor);
    write_real(json, "high_freq_factor", rope.high_freq_factor);
  }
  if (rope.type == Type::llama3 || rope.type == Type::yarn || rope.type == Type::factors)
    json.field("original_max_position_embeddings", rope.original_max_position_embeddings);
  if (rope.type == Type::factors) {
    write_real(json, "attention_factor", rope.attention_factor);
    for (const char* list : {"short_factor", "long_factor"}) {
      json.open('[', list);
      for (const float factor : rope.factors) json.value(factor);
      json.close();
    }
  }
  if (rope.type != Type::yarn) return;
  write_real(json, "beta_fast", rope.beta_fast);
  write_real(json, "beta_slow", rope.beta_slow);
  json.field("truncate", rope.truncate);
  if (rope.mscale != 0) write_real(json, "mscale", rope.mscale);
  if (rope.mscale_all_dim != 0) write_real(json, "mscale_all_dim", rope.mscale_all_dim);
  if (rope.attention_factor != 0) write_real(json, "attention_factor", rope.attention_factor);
}

static void write_parameters(const Config& config, std::string_view key, JsonWriter& json) {
  json.open('{', key);
  write_real(json, "rope_theta", config.rope_theta);
  if (config.rope_scaling.type == RopeScaling::Type::none) json.field("rope_type", "default");
  else write_scaling(config, json);
  json.close();
}

void write_rope(const Config& config, JsonWriter& json) {
  write_real(json, "rope_theta", config.rope_theta);
  if (config.rope_scaling.type == RopeScaling::Type::none) {
    json.key("rope_scaling").null();
  } else {
    json.open('{', "rope_scaling");
    write_scaling(config, json);
    json.close();
  }
  if (config.rope_local_base_freq == 0) return write_parameters(config, "rope_parameters", json);
  write_real(json, "rope_local_base_freq", config.rope_local_base_freq);
  json.open('{', "rope_parameters");
  write_parameters(config, "full_attention", json);
  json.open('{', "sliding_attention");
  write_real(json, "rope_theta", config.rope_local_base_freq);
  json.field("rope_type", "default").close().close();
}

// ---- Angles ----

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * math::log(factor) + 1.0; }

// The unscaled angle per position of each pair of columns.
static std::vector<double> plain_frequencies(double log_base, int64_t dim) {
  std::vector<double> frequency(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < frequency.size(); ++i)
    frequency[i] = math::exp(-log_base * (2.0 * static_cast<double>(i) / static_cast<double>(dim)));
  return frequency;
}

// Angle per position of each pair of columns; *amplitude multiplies cosine and sine.
static std::vector<double> inverse_frequencies(const RopeScaling& rope, double log_base, int64_t dim, double* amplitude) {
  const int64_t pairs = dim / 2;
  const double length = static_cast<double>(rope.original_max_position_embeddings);
  std::vector<double> frequency = plain_frequencies(log_base, dim);
  *amplitude = 1;
  if (rope.type == RopeScaling::Type::linear) {
    for (double& f : frequency) f /= rope.factor;
  } else if (rope.type == RopeScaling::Type::llama3) {
    for (double& f : frequency) {
      const double wave = kTwoPi / f;
      if (wave < length / rope.high_freq_factor) continue;
      const double t = (length / wave - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      f = wave > length / rope.low_freq_factor ? f / rope.factor : (1 - t) * f / rope.factor + t * f;
    }
  } else if (rope.type == RopeScaling::Type::factors) {
    for (size_t i = 0; i < frequency.size(); ++i) frequency[i] /= static_cast<double>(rope.factors[i]);
    *amplitude = rope.attention_factor;
  } else if (rope.type == RopeScaling::Type::yarn) {
    // The pair that turns `rotations` times within the original length.
    auto pair_of = [&](double rotations) {
      return static_cast<double>(dim) * math::log(length / (kTwoPi * rotations)) / (2 * log_base);
    };
    double low = pair_of(rope.beta_fast), high = pair_of(rope.beta_slow);
    if (rope.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0), high = std::min(high, static_cast<double>(dim - 1));
    if (low == high) high += 0.001;
    for (int64_t i = 0; i < pairs; ++i) {
      const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      frequency[i] = frequency[i] / rope.factor * ramp + frequency[i] * (1 - ramp);
    }
    if (rope.attention_factor != 0) *amplitude = rope.attention_factor;
    else if (rope.mscale != 0 && rope.mscale_all_dim != 0)
      *amplitude = yarn_mscale(rope.factor, rope.mscale) / yarn_mscale(rope.factor, rope.mscale_all_dim);
    else *amplitude = yarn_mscale(rope.factor, 1);
  }
  return frequency;
}

RopeTables make_rope_tables(const Config& config, int64_t positions, Arena& arena, bool local) {
  const int64_t pairs = config.rope_dim() / 2;
  const RopeTables tables{arena.make_uninitialized(DType::f32, {positions, pairs}), arena.make_uninitialized(DType::f32, {positions, pairs})};
  fill_rope_tables(config, 0, positions, tables, local);
  return tables;
}

void fill_rope_tables(const Config& config, int64_t first, int64_t last, const RopeTables& tables, bool local) {
  const RopeScaling scaling = local ? RopeScaling{} : config.rope_scaling;
  const double log_base = math::log(local ? config.rope_local_base_freq : config.rope_theta);
  const int64_t dim = config.rope_dim(), pairs = dim / 2;
  double amplitude;
  const std::vector<double> fixed = inverse_frequencies(scaling, log_base, dim, &amplitude);
  const auto longest = static_cast<double>(config.max_position_embeddings);
  parallel_for(static_cast<size_t>(last - first), 16, [&](size_t begin, size_t end) {
    std::vector<double> frequency = fixed;
    for (size_t p = static_cast<size_t>(first) + begin; p < static_cast<size_t>(first) + end; ++p) {
      if (scaling.type == RopeScaling::Type::dynamic && static_cast<double>(p) + 1 > longest) {
        const double stretch = scaling.factor * (static_cast<double>(p) + 1) / longest - (scaling.factor - 1);
        frequency = plain_frequencies(log_base + math::log(stretch) * static_cast<double>(dim) / static_cast<double>(dim - 2), dim);
      }
      for (size_t i = 0; i < static_cast<size_t>(pairs); ++i) {
        const double angle = static_cast<double>(p) * frequency[i];
        tables.cos.f32()[p * pairs + i] = static_cast<float>(amplitude * math::cos(angle));
        tables.sin.f32()[p * pairs + i] = static_cast<float>(amplitude * math::sin(angle));
      }
    }
  });
}

}  // namespace ds
