#include "train/tokenizer.h"

#include "base/error.h"
#include "base/stop.h"
#include "io/json.h"
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

// The text of each message: "content" is a string, or parts of which those of the type "text" count. What a template
// puts between them is the template's.
static void add_messages(const Record& record, BpeTrainer& trainer) {
  const std::string where = record.where() + ": messages";
  const Json messages = parse_json(record.raw_value("messages"), where);
  require(messages.type == Json::Type::array, where, " is no array of messages");
  for (const Json& message : messages.items) {
    const Json* content = message.find("content");
    require(content != nullptr, where, ": a message without content");
    if (content->type == Json::Type::null) continue;  // a call of a tool
    if (content->type != Json::Type::array) {
      trainer.add(content->as_string(where + ": content"));
      continue;
    }
    for (const Json& part : content->items)
      if (const Json* text = part.find("text")) trainer.add(text->as_string(where + ": content: text"));
  }
}

void train_tokenizer(const TokenizerOptions& options, Report& report) {
  BpeTrainerOptions trainer_options;
  trainer_options.vocab_size = options.vocab_size;
  trainer_options.pretokenizer = options.pretokenizer;
  trainer_options.special_tokens = options.special_tokens;
  trainer_options.add_bos = options.add_bos;
  trainer_options.min_frequency = options.min_frequency;
  trainer_options.max_words_memory = options.max_words_memory;
  BpeTrainer trainer(trainer_options);
  {
    const auto stage = report.stage("count");
    for_each_record(options.inputs, options.max_record_bytes, &report, [&](Record&& record) {
      throw_if_stopped();
      if (!record.has(options.text_field) && record.has("messages"))
        add_messages(record, trainer);
      else
        trainer.add(record.required_string(options.text_field));
    });
    trainer.finish_counting();
  }
  TrainedTokenizer trained;
  {
    const auto stage = report.stage("merge");
    trained = trainer.train();
  }
  report.kept = report.read;
  JsonWriter json;
  json.open('{').field("vocab_size", trained.vocab_size).field("merges", trained.merges).field("texts", trained.texts);
  json.field("bytes", trained.bytes).field("words", trained.words).field("distinct_words", trained.distinct_words);
  json.field("forgotten_words", trained.forgotten.words).field("forgotten_occurrences", trained.forgotten.occurrences);
  report.results.emplace_back("tokenizer", json.close().text);
  // The companion first: where tokenizer.json is, all is there.
  const std::string companion = tokenizer_config_path(options.output);
  if (!companion.empty()) write_output(companion, trained.tokenizer_config_json, report);
  write_output(options.output, trained.tokenizer_json, report);
}

}  // namespace ds
