// The routers that no architecture of transformers has, in config.json (docs/routers.md).
#include <algorithm>

#include "base/error.h"
#include "model/architecture.h"

namespace ds {

constexpr std::string_view kRouterKinds[] = {"top_k", "entropy_fallback", "adaptive", "three_layer", "confidence"};

bool has_router_keys(const Config& config) { return config.router.kind != RouterSpec::Kind::top_k || config.router_expert_attention; }

static float in_unit_interval(const ConfigReader& keys, std::string_view key) {
  const Json* value = keys.find(key);
  require(value, keys.at(key), " is missing");
  const double number = value->as_double(keys.at(key));
  require(number >= 0 && number <= 1, keys.at(key), " is ", number, "; it has to be from 0 to 1");
  return static_cast<float>(number);
}

static void parse_groups(const ConfigReader& keys, bool kept, Config& config) {
  RouterSpec& router = config.router;
  router.n_group = static_cast<int>(keys.size_or("n_group", router.n_group));
  router.topk_group = kept ? static_cast<int>(keys.size_or("topk_group", router.n_group)) : router.n_group;
}

void parse_router_keys(const ConfigReader& keys, Config& config) {
  using Kind = RouterSpec::Kind;
  RouterSpec& router = config.router;
  const std::string kind = keys.string_or("router_type", "top_k");
  const auto* const found = std::find(std::begin(kRouterKinds), std::end(kRouterKinds), kind);
  require(found != std::end(kRouterKinds), keys.at("router_type"), " is \"", kind,
          "\"; top_k, entropy_fallback, adaptive, three_layer and confidence are supported");
  router.kind = static_cast<Kind>(found - std::begin(kRouterKinds));
  config.router_expert_attention = keys.flag_or("router_expert_attention", false);
  if (!has_router_keys(config)) return;
  require(config.n_routed_experts > 0, keys.at("router_type"), " is \"", kind, "\", and the model has no experts");
  if (router.kind == Kind::top_k) {
    if (router.n_group == router.topk_group) parse_groups(keys, false, config);
    return;
  }
  require(router.scores == RouterSpec::Scores::softmax, keys.at("router_type"), " is \"", kind,
          "\", which goes with a softmax router, and ", keys.at("base_model_type"), " has a sigmoid one");
  parse_groups(keys, router.kind == Kind::three_layer, config);
  if (router.kind == Kind::three_layer)
    require(router.n_group > 1, keys.at("n_group"), " is ", router.n_group, "; a router in three layers needs groups to choose from");
  if (router.kind == Kind::adaptive) router.temperature = static_cast<float>(keys.positive_or("router_temperature", 1));
  if (router.kind == Kind::entropy_fallback) router.entropy_threshold = in_unit_interval(keys, "router_entropy_threshold");
  if (router.kind == Kind::confidence) {
    router.confidence = in_unit_interval(keys, "router_confidence");
    router.min_k = static_cast<int>(keys.size_or("min_experts_per_tok", 2));
    require(router.min_k <= router.top_k, keys.at("min_experts_per_tok"), " is ", router.min_k, ", above num_experts_per_tok ", router.top_k);
  }
}

void write_router_keys(const Config& config, JsonWriter& json) {
  using Kind = RouterSpec::Kind;
  const RouterSpec& router = config.router;
  if (!has_router_keys(config)) return;
  json.field("router_type", kRouterKinds[static_cast<size_t>(router.kind)]).field("router_expert_attention", config.router_expert_attention);
  if (!config.is_mla()) {  // DeepSeek's rows have written these
    json.field("n_group", router.n_group);
    if (router.kind == Kind::three_layer) json.field("topk_group", router.topk_group);
  }
  if (router.kind == Kind::adaptive) write_real(json, "router_temperature", router.temperature);
  if (router.kind == Kind::entropy_fallback) write_real(json, "router_entropy_threshold", router.entropy_threshold);
  if (router.kind == Kind::confidence) {
    write_real(json, "router_confidence", router.confidence);
    json.field("min_experts_per_tok", router.min_k);
  }
}

}  // namespace ds
