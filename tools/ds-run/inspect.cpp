// ds-run inspect
#include <iostream>

#include "ds-run/verbs.h"
#include "run/inspect.h"
#include "run/precision.h"

namespace ds {

void declare_inspect_verb(App& app) {
  static InspectOptions i;
  static std::string named, precision, kv_cache_dtype = "f32";
  Options o = app.verb("inspect", "what a model consists of, needs, and what of it would be refused",
                       {"ds-run inspect MODEL", "ds-run inspect --batch-sequences 32 --context 4096 --kv-cache-dtype int8 MODEL"}, [](const CommonOptions&, Report&) {
                         if (named.empty() == i.model.empty()) throw UsageError("give one model: MODEL, or --model MODEL");
                         if (i.model.empty()) i.model = named;
                         i.model = precision_folder(i.model, precision);
                         if (kv_cache_dtype == "int8") i.kv_cache_dtype = DType::i8;
                         const Inspection found = inspect(i);
                         std::cout << describe(found, i);
                         return found.refused.empty() ? 0 : 1;
                       });
  o.group("Model");
  o.option("MODEL", i.model, "a model folder or a .gguf file", "MODEL");
  o.option("--model", named, "the same", "MODEL");
  declare_precision(o, precision);
  o.flag("--json", i.json, "JSON in place of a table");
  o.group("Memory for");
  o.option("--batch-sequences", i.sequences, "sequences under way", "N").range(1, 1 << 16);
  o.option("--context", i.context, "tokens of each; 0: as many as the model has positions", "TOKENS").range(0, 1 << 30);
  o.choice("--kv-cache-dtype", kv_cache_dtype, {"f32", "int8"}, "numbers of the cache of keys and values");
  o.option("--batch-tokens", i.batch_tokens, "rows of one forward pass", "TOKENS").range(1, 1 << 20);
}

}  // namespace ds
