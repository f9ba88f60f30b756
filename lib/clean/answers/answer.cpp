#include "clean/answers/answer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/hash.h"
#include "io/json.h"
#include "text/unicode.h"
#include "text/words.h"

namespace ds {

// Letters of scripts in which a run of them is no word: Han, kana and Hangul.
static bool stands_alone(char32_t c) {
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

static std::vector<uint64_t> unit_hashes(std::string_view text) {
  std::vector<uint64_t> units;
  WordReader reader(text);
  for (std::string_view word; reader.next(word);) {
    size_t begin = 0;
    for (size_t at = 0; at < word.size();) {
      const size_t character = at;
      if (!stands_alone(decode_utf8(word, at))) continue;
      if (character > begin) units.push_back(hash64(word.substr(begin, character - begin)));
      units.push_back(hash64(word.substr(character, at - character)));
      begin = at;
    }
    if (begin < word.size()) units.push_back(hash64(word.substr(begin)));
  }
  return units;
}

static std::vector<uint64_t> trigrams(const std::vector<uint64_t>& units) {
  std::vector<uint64_t> grams;
  for (size_t i = 0; i + 3 <= units.size(); ++i)
    grams.push_back(hash64({reinterpret_cast<const char*>(&units[i]), 3 * sizeof(uint64_t)}));
  return grams;
}

static double echo(const std::vector<uint64_t>& question, const std::vector<uint64_t>& answer) {
  if (answer.size() < 3) return !answer.empty() && answer == question ? 1 : 0;
  std::vector<uint64_t> known = trigrams(question);
  std::sort(known.begin(), known.end());
  const std::vector<uint64_t> grams = trigrams(answer);
  const auto found = std::count_if(grams.begin(), grams.end(),
                                   [&](uint64_t gram) { return std::binary_search(known.begin(), known.end(), gram); });
  return static_cast<double>(found) / static_cast<double>(grams.size());
}

void measure_answer(std::string_view question, std::string_view answer, Signals& signals) {
  const std::vector<uint64_t> asked = unit_hashes(question), answered = unit_hashes(answer);
  signals[Signal::answer_words] = static_cast<double>(answered.size());
  signals[Signal::answer_echo] = echo(asked, answered);
  signals[Signal::answer_refusal] = refuses(answer) ? 1 : 0;
  signals[Signal::answer_unfinished] = breaks_off(answer) ? 1 : 0;
  if (!asked.empty())
    signals[Signal::answer_ratio] = static_cast<double>(answered.size()) / static_cast<double>(asked.size());
}

// The text of a turn: a string, or the parts of it that are text.
static std::optional<std::string> turn_text(const Json* content) {
  if (content == nullptr) return std::nullopt;
  if (content->type == Json::Type::string) return content->text;
  if (content->type != Json::Type::array) return std::nullopt;
  std::string joined;
  bool found = false;
  for (const Json& part : content->items) {
    const Json* text = part.find("text");
    if (text == nullptr || text->type != Json::Type::string) continue;
    if (found) joined += '\n';
    joined += text->text;
    found = true;
  }
  return found ? std::optional(joined) : std::nullopt;
}

static bool is_user(std::string_view role) { return role == "user" || role == "human"; }
static bool is_assistant(std::string_view role) {
  static constexpr std::array<std::string_view, 6> names = {"assistant", "gpt", "chatgpt", "model", "bing", "bard"};
  return std::find(names.begin(), names.end(), role) != names.end();
}

static std::optional<QuestionAnswer> chat_pair(const Record& record, std::string_view field, std::string_view role_key,
                                               std::string_view content_key) {
  const std::string_view raw = record.raw_value(field);
  if (!raw.starts_with('[')) return std::nullopt;
  const Json turns = parse_json(raw, record.where());
  std::optional<std::string> answer;
  for (size_t i = turns.items.size(); i > 0; --i) {
    const Json& turn = turns.items[i - 1];
    const Json* role = turn.find(role_key);
    if (role == nullptr || role->type != Json::Type::string) continue;
    if (!answer && is_assistant(role->text)) answer = turn_text(turn.find(content_key));
    if (!answer || !is_user(role->text)) continue;
    if (auto question = turn_text(turn.find(content_key)))
      return QuestionAnswer{*std::move(question), *std::move(answer)};
  }
  return std::nullopt;
}

static std::optional<QuestionAnswer> fields_pair(const Record& record, std::string_view question_field,
                                                 std::string_view answer_field) {
  auto question = record.string(question_field);
  auto answer = record.string(answer_field);
  if (!question || !answer) return std::nullopt;
  return QuestionAnswer{*std::move(question), *std::move(answer)};
}

static std::optional<QuestionAnswer> pair_by_layout(const Record& record) {
  if (auto pair = chat_pair(record, "messages", "role", "content")) return pair;
  if (auto pair = chat_pair(record, "conversations", "from", "value")) return pair;
  if (auto pair = fields_pair(record, "instruction", "output")) {
    const std::string input = record.string("input").value_or("");
    if (!input.empty()) (pair->question += '\n') += input;
    return pair;
  }
  if (auto pair = fields_pair(record, "prompt", "completion")) return pair;
  return fields_pair(record, "question", "answer");
}

std::optional<QuestionAnswer> question_answer(const Record& record, std::string_view question_field,
                                              std::string_view answer_field) {
  if (!question_field.empty() && !answer_field.empty()) return fields_pair(record, question_field, answer_field);
  auto pair = pair_by_layout(record);
  if (!pair || (question_field.empty() && answer_field.empty())) return pair;
  auto named = record.string(question_field.empty() ? answer_field : question_field);
  if (!named) return std::nullopt;
  (question_field.empty() ? pair->answer : pair->question) = *std::move(named);
  return pair;
}

}  // namespace ds
