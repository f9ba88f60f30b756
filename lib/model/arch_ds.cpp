// Models of ours: a row's sizes and names, and beside them features that no other program knows. Their config.json names
// an architecture of its own, so that such a program refuses the folder rather than compute something else.
#include "model/architecture.h"

namespace ds {

bool is_ds(const Config& config) { return has_router_keys(config) || has_attention_keys(config); }

void parse_ds(const ConfigReader& keys, Config& config) {
  keys.only_text("model_type", kDsType);
  keys.ignore("base_model_type");  // read when the row was looked for
  parse_router_keys(keys, config);
  parse_attention_keys(keys, config);
}

void write_ds(const Config& config, JsonWriter& json) {
  write_router_keys(config, json);
  write_attention_keys(config, json);
}

}  // namespace ds
