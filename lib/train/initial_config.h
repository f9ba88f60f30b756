// The config.json of a model that training starts from scratch: a row of the table of architectures with small sizes, or a
// file; keys of either may be set.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace ds {

// The names that --arch knows: model_type as transformers has it ("qwen3_moe").
std::vector<std::string> arch_names();

// A config.json of that architecture: hidden size 256, 4 layers, 4 heads, experts where it has some. UsageError for another
// name.
std::string arch_config(std::string_view name);

// The config with KEY=VALUE set, one after the other: VALUE is JSON, or a string where it is no JSON. UsageError where
// there is no "=". A key that only our models have (router_type, attention_pattern and what goes with them: docs/routers.md,
// docs/attention.md) makes the config one of theirs: model_type "ds", base_model_type what model_type was.
std::string set_keys(const std::string& config, const std::vector<std::string>& keys, const std::string& where);

}  // namespace ds
