#include "train/tokenizer.h"

#include "base/error.h"
#include "base/stop.h"
#include "io/jsonl.h"
#include "io/output.h"
#include "io/record.h"
#include "text/bpe_trainer.h"

namespace ds {

std::string tokenizer_config_path(const std::string& tokenizer_json) {
  constexpr std::string_view name = "tokenizer.json";
  if (!tokenizer_json.ends_with(name)) return "";
  return tokenizer_json.substr(0, tokenizer_json.size() - name.size()) + "tokenizer_config.json";
}

static void write_output(const std::string& path, const std::string& bytes, Report& report) {
  OutputFile file(path);
  file.write(bytes);
  file.commit();
  report.outputs.push_back({path, file.bytes(), 1, file.hash()});
}

void train_tokenizer(const TokenizerOptions& options, Report& report) {
  BpeTrainerOptions trainer_options;
  trainer_options.vocab_size = options.vocab_size;
  trainer_options.pretokenizer = options.pretokenizer;
  trainer_options.special_tokens = options.special_tokens;
  trainer_options.add_bos = options.add_bos;
  BpeTrainer trainer(trainer_options);
  {
    const auto stage = report.stage("count");
    for_each_record(options.inputs, options.max_record_bytes, &report, [&](Record&& record) {
      throw_if_stopped();
      trainer.add(record.required_string(options.text_field));
    });
  }
  TrainedTokenizer trained;
  {
    const auto stage = report.stage("merge");
    trained = trainer.train();
  }
  report.kept = report.read;
  report.results.emplace_back("tokenizer", cat("{\"vocab_size\": ", trained.vocab_size, ", \"bytes\": ", trained.bytes,
                                               ", \"distinct_words\": ", trained.distinct_words, "}"));
  // The companion first: where tokenizer.json is, all is there.
  const std::string companion = tokenizer_config_path(options.output);
  if (!companion.empty()) write_output(companion, trained.tokenizer_config_json, report);
  write_output(options.output, trained.tokenizer_json, report);
}

}  // namespace ds
