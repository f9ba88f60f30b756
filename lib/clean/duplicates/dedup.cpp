#include "clean/duplicates/dedup.h"

#include <charconv>

#include "base/error.h"
#include "io/json.h"

namespace ds {

double parse_near_threshold(const std::string& typed) {
  double value{};
  const char* end = typed.data() + typed.size();
  const auto [stop, error] = std::from_chars(typed.data(), end, value);
  if (error != std::errc() || stop != end || !(value > 0 && value <= 1))
    throw UsageError(cat("--near must be a number above 0 and at most 1, or off, not '", typed, "'"));
  return value;
}

const char* duplicate_reason(const Duplicate& duplicate) {
  return duplicate.jaccard ? "near-duplicate" : "exact-duplicate";
}

std::string duplicate_details(const Duplicate& duplicate) {
  JsonWriter details;
  details.open('{').field("reason", duplicate_reason(duplicate)).key("of").raw(duplicate.of);
  if (duplicate.jaccard) details.field("jaccard", *duplicate.jaccard);
  if (!duplicate.cluster.empty()) details.key("cluster").raw(duplicate.cluster);
  return details.close().text;
}

std::string record_id(const Record& record, const std::string& id_field) {
  const std::string_view raw = record.raw_value(id_field);
  const bool usable =
      !raw.empty() && (raw.front() == '"' || raw.front() == '-' || (raw.front() >= '0' && raw.front() <= '9'));
  return usable ? std::string(raw) : json_string(record.where());
}

DedupIndex::DedupIndex(const DedupOptions& options, const std::string& folder, const IndexMarks& marks)
    : options_(options) {
  if (options.exact) exact_ = std::make_unique<ExactIndex>(folder, marks.exact);
  if (options.near) near_ = std::make_unique<NearIndex>(*options.near, folder, marks.near);
}

DedupKeys DedupIndex::keys(std::string_view text, const std::vector<uint64_t>& words) const {
  DedupKeys keys;
  if (exact_ && options_.exact_words)
    keys.hash = hash128({reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint64_t)});
  else if (exact_)
    keys.hash = hash128(text);
  if (near_) keys.near = near_->sketch(text, &words);
  return keys;
}

std::optional<Duplicate> DedupIndex::find_exact(const DedupKeys& keys) const {
  const auto same = exact_ ? exact_->find(keys.hash) : std::nullopt;
  if (!same) return std::nullopt;
  return Duplicate{exact_->id(*same), "", std::nullopt};
}

Duplicate DedupIndex::near_duplicate(const NearMatch& match) const {
  return {near_->id(match.of), near_->id(near_->cluster(match.of)), match.jaccard};
}

std::optional<Duplicate> DedupIndex::find(const DedupKeys& keys) {
  if (auto exact = find_exact(keys)) return exact;
  const auto match = near_ ? near_->best(*keys.near) : std::nullopt;
  if (!match) return std::nullopt;
  return near_duplicate(*match);
}

std::optional<Duplicate> DedupIndex::find_and_add(const DedupKeys& keys, std::string_view text, const std::string& id) {
  // The set of an exact duplicate is in the index since its first record.
  if (auto exact = find_exact(keys)) return exact;
  if (exact_) exact_->add(keys.hash, id);
  if (!near_) return std::nullopt;
  const auto match = near_->best(*keys.near);
  if (!match || match->jaccard < 1) near_->add(*keys.near, id, match ? near_->cluster(match->of) : near_->size(), text);
  if (!match) return std::nullopt;
  return near_duplicate(*match);
}

IndexMarks DedupIndex::marks() const {
  return {exact_ ? exact_->mark() : LogMark{}, near_ ? near_->mark() : LogMark{}};
}

void DedupIndex::flush() {
  if (exact_) exact_->flush();
  if (near_) near_->flush();
}

}  // namespace ds
