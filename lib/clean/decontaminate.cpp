#include "clean/decontaminate.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "io/jsonl.h"

namespace ds {
namespace {

constexpr size_t words_of_a_key = 5;
constexpr size_t first_ids = 10;
constexpr size_t longest_excerpt = 200;  // bytes

using Words = std::vector<uint64_t>;

// The text without what stands between a "http://" or "https://" and the next white space: a link to the same page is
// no copy of an item.
std::string without_addresses(std::string_view text) {
  std::string kept;
  for (size_t at = 0;;) {
    size_t scheme = text.find("://", at);
    if (scheme == std::string_view::npos) return kept.append(text.substr(at));
    size_t begin = scheme;
    for (const std::string_view name : {"https", "http"})
      if (begin == scheme && text.substr(at, scheme - at).ends_with(name)) begin -= name.size();
    const size_t end = begin == scheme ? scheme + 3 : std::min(text.size(), text.find_first_of(" \t\r\n", scheme));
    kept.append(text.substr(at, (begin == scheme ? end : begin) - at));
    at = end;
  }
}

// The text without the name of its part that prompts put before it: a copy from elsewhere does not have it.
std::string_view without_label(std::string_view text) {
  for (const std::string_view label : {"Question:", "Problem:", "Passage:", "Answer:", "Q:", "A:"})
    if (text.starts_with(label)) return text.substr(label.size());
  return text;
}

void take_texts(const Json& value, std::vector<Words>& texts) {
  if (value.type == Json::Type::string) texts.push_back(overlap_words(without_addresses(without_label(value.text))));
  for (const Json& item : value.items) take_texts(item, texts);
  for (const auto& [key, member] : value.members) {
    Words words = overlap_words(key);
    if (words.size() >= words_of_a_key) texts.push_back(std::move(words));
    take_texts(member, texts);
  }
}

const Json* name_of(const Json& record) {
  for (const char* key : {"id", "task_id"}) {
    const Json* name = record.find(key);
    if (name && (name->type == Json::Type::string || name->type == Json::Type::number)) return name;
  }
  return nullptr;
}

uint64_t hash_of(const Words& words) {
  return hash64({reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint64_t)});
}

// How often texts occur in a file, and which of many equal ones was seen.
class Repeats {
 public:
  explicit Repeats(const std::vector<std::vector<Words>>& items) : items_(items.size()) {
    for (const auto& texts : items) {
      std::set<uint64_t> of_item;
      for (const Words& words : texts)
        if (of_item.insert(hash_of(words)).second) ++counts_[hash_of(words)].items;
    }
  }
  // Whether the next item that has this text is to have it in the index.
  bool take(const Words& words) {
    Count& count = counts_[hash_of(words)];
    if (count.items <= overlap_common_items) return true;
    const bool is_template = count.items * 20 > items_;
    return !is_template && !std::exchange(count.taken, true);
  }

 private:
  struct Count {
    size_t items = 0;
    bool taken = false;
  };
  size_t items_;
  std::unordered_map<uint64_t, Count> counts_;
};

// At most so many bytes of the text, whole characters.
std::string_view shortened(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (text[most] & 0xC0) == 0x80) --most;
  return text.substr(0, most);
}

}  // namespace

Decontaminator::Decontaminator(const DecontaminateOptions& options, Report* report)
    : options_(options), index_(options.n, options.threshold) {
  for (uint32_t file = 0; file < options_.files.size(); ++file) read(file, report);
  index_.freeze();
}

void Decontaminator::read(uint32_t file, Report* report) {
  const std::string& path = options_.files[file];
  const auto first = static_cast<uint32_t>(items_.size());
  std::vector<std::vector<Words>> items;
  std::set<std::string> seen;  // of the fields asked for
  Report read;
  for_each_record({path}, options_.max_record_bytes, &read, [&](Record&& record) {
    const Json json = parse_json(record.raw(), record.where());
    const Json* name = name_of(json);
    std::vector<Words> texts;
    for (const auto& [key, value] : json.members) {
      if (options_.fields.empty()
              ? &value == name
              : std::find(options_.fields.begin(), options_.fields.end(), key) == options_.fields.end())
        continue;
      seen.insert(key);
      take_texts(value, texts);
    }
    items.push_back(std::move(texts));
    items_.push_back({file, record.line(),
                      !name                              ? ""
                      : name->type == Json::Type::string ? json_string(name->text)
                                                         : name->text});
  });
  require(!items.empty(), path, ": no record, expected the items of a benchmark");
  for (const std::string& field : options_.fields)
    require(seen.count(field) > 0, path, ": no record has the field ", json_string(field), " of --benchmark-field");
  const auto has_words = [](const std::vector<Words>& texts) {
    return std::ranges::any_of(texts, [](const Words& words) { return !words.empty(); });
  };
  require(std::ranges::any_of(items, has_words), path, ": no record has a text, expected the items of a benchmark");
  Repeats repeats(items);
  for (uint32_t i = 0; i < items.size(); ++i)
    for (const Words& words : items[i])
      if (repeats.take(words)) index_.add(first + i, words);
  if (report) report->inputs.insert(report->inputs.end(), read.inputs.begin(), read.inputs.end());
}

Contamination Decontaminator::measure(std::string_view text) const {
  const Overlap overlap = index_.find(text);
  Contamination found{overlap.share, overlap.run, {}, {}, 0};
  if (overlap.hits.empty()) return found;
  for (const OverlapHit& hit : overlap.hits) found.hits.push_back({hit.item, hit.share, hit.run});
  found.offset = overlap.hits[0].begin;
  found.excerpt = text.substr(found.offset, overlap.hits[0].end - found.offset);
  return found;
}

std::string Decontaminator::name(uint32_t item) const {
  const Item& named = items_[item];
  return named.name.empty() ? json_string(cat(file(item), ":", named.line)) : named.name;
}

void Decontaminator::describe(const Contamination& found, JsonWriter& details) const {
  if (found.hits.empty()) return;
  const Contamination::Hit& hit = found.hits[0];
  details.field("contamination", hit.share).field("run", uint64_t{hit.run});
  details.key("item").raw(name(hit.item)).field("benchmark", file(hit.item));
  details.field("offset", uint64_t{found.offset}).field("excerpt", shortened(found.excerpt, longest_excerpt));
}

void Decontaminator::count(const Contamination& found, std::string_view id) {
  records_hit_ += !found.hits.empty();
  for (const auto& hit : found.hits) {
    Tally& tally = tallies_[hit.item];
    ++tally.records;
    tally.share = std::max(tally.share, hit.share);
    tally.run = std::max(tally.run, hit.run);
    if (tally.first.size() < first_ids) tally.first.emplace_back(id);
  }
}

std::string Decontaminator::summary() const {
  JsonWriter out;
  out.open('{').field("n", uint64_t{options_.n}).field("threshold", options_.threshold);
  out.field("index_bytes", uint64_t{index_.memory()}).field("records_hit", records_hit_).open('[', "benchmarks");
  auto item = uint32_t{0};
  auto tally = tallies_.begin();
  for (uint32_t file = 0; file < options_.files.size(); ++file) {
    const uint32_t first = item;
    while (item < items_.size() && items_[item].file == file) ++item;
    auto last = tally;
    while (last != tallies_.end() && last->first < item) ++last;
    out.open('{').field("file", options_.files[file]).field("items", uint64_t{item - first});
    out.field("items_hit", static_cast<uint64_t>(std::distance(tally, last))).open('[', "hits");
    for (; tally != last; ++tally) {
      out.open('{').key("item").raw(name(tally->first)).field("line", items_[tally->first].line);
      out.field("records", tally->second.records).field("largest_share", tally->second.share);
      out.field("longest_run", uint64_t{tally->second.run}).open('[', "first");
      for (const std::string& id : tally->second.first) out.raw(id);
      out.close().close();
    }
    out.close().close();
  }
  return out.close().close().text;
}

}  // namespace ds
