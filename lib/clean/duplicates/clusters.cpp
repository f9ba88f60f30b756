#include "clean/duplicates/clusters.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "io/json.h"

namespace ds {

Clusters::Clusters(const CleanOptions& options, const DedupOptions& dedup, const Measurer& measurer)
    : options_(options), measurer_(measurer), index_(dedup) {
  if (options.keep == "longest") {
    keep_ = Keep::longest;
  } else if (options.keep == "none") {
    keep_ = Keep::none;
  } else if (options.keep.starts_with("best:") && options.keep.size() > 5) {
    keep_ = Keep::best;
    field_ = options.keep.substr(5);
  } else {
    throw UsageError(cat("--keep must be first, longest, best:FIELD or none, not '", options.keep, "'"));
  }
}

uint32_t Clusters::root(uint32_t record) {
  while (members_[record].parent != record) {
    members_[record].parent = members_[members_[record].parent].parent;
    record = members_[record].parent;
  }
  return record;
}

// The earlier root stays, so that a cluster's root is its first record.
void Clusters::unite(uint32_t a, uint32_t b) {
  a = root(a);
  b = root(b);
  members_[std::max(a, b)].parent = std::min(a, b);
}

void Clusters::add(const Record& record, const Measured& measured, const DedupKeys& keys) {
  require(members_.size() < outside, "--keep is limited to 2^32 records");
  const auto number = static_cast<uint32_t>(members_.size());
  const bool inside = measured.reason.empty();
  double score = 0;
  if (keep_ == Keep::longest) score = static_cast<double>(measured.text.size());
  if (keep_ == Keep::best) {
    const auto number = record.number(field_);
    scored_ = scored_ || number.has_value();
    score = number.value_or(-std::numeric_limits<double>::infinity());
  }
  const std::string name = inside ? record_id(record, options_.id_field) : "";
  const auto size = static_cast<uint32_t>(name.size());
  const uint64_t place = ids_.append({reinterpret_cast<const char*>(&size), sizeof size});
  ids_.append(name);
  members_.push_back({inside ? number : outside, 0, score, place});
  if (!inside) return;
  if (ExactIndex* exact = index_.exact()) {
    if (const auto same = exact->find(keys.hash)) {
      members_[number].text = *same;
      return unite(number, exact_first_[*same]);
    }
    exact->add(keys.hash, "");
    members_[number].text = static_cast<uint32_t>(exact_first_.size());
    exact_first_.push_back(number);
  }
  NearIndex* near = index_.near();
  if (!near) return;
  const std::vector<NearMatch> matches = near->matches(*keys.near);
  for (const NearMatch& match : matches) unite(number, near_first_[match.of]);
  const bool known = !matches.empty() && matches.front().jaccard == 1;
  const uint32_t text = known ? matches.front().of : near->size();
  if (index_.exact())
    near_text_.push_back(text);
  else
    members_[number].text = text;
  if (known) return;
  near->add(*keys.near, "", 0, measured.text);
  near_first_.push_back(number);
}

void Clusters::read(const StreamOptions& stream) {
  if (std::find(stream.inputs.begin(), stream.inputs.end(), "-") != stream.inputs.end())
    throw UsageError(cat("--keep ", options_.keep, " reads the inputs twice: name files, not standard input"));
  StreamOptions first = stream;
  first.output = "/dev/null";
  if (!stream.rejects.empty()) first.rejects = "/dev/null";
  struct Prepared {
    Measured measured;
    DedupKeys keys;
  };
  Report unused;
  process_records(
      first, unused,
      [&](Record& record) -> std::shared_ptr<void> {
        auto prepared = std::make_shared<Prepared>();
        prepared->measured = measurer_.measure(record);
        prepared->keys = index_.keys(prepared->measured.text, prepared->measured.words);
        prepared->measured.words = {};
        return prepared;
      },
      [&](Record& record, void* result) {
        const auto& prepared = *static_cast<const Prepared*>(result);
        add(record, prepared.measured, prepared.keys);
        return Verdict{};
      });
  if (keep_ == Keep::best && !scored_ && !members_.empty())
    fail("--keep best:", field_, ": no record has a number in its field ", json_string(field_));
  choose();
}

void Clusters::choose() {
  winner_.resize(members_.size());
  std::iota(winner_.begin(), winner_.end(), 0);
  size_.assign(members_.size(), 0);
  for (uint32_t record = 0; record < members_.size(); ++record) {
    if (members_[record].parent == outside) continue;
    const uint32_t first = root(record);
    ++size_[first];
    // Of a cluster of which none stays the others name the first, and the first names the second.
    if (keep_ == Keep::none && size_[first] == 2) winner_[first] = record;
    if (members_[record].score > members_[winner_[first]].score) winner_[first] = record;
  }
}

std::string Clusters::id(uint32_t record) const {
  std::string bytes;
  ids_.read(members_[record].id, sizeof(uint32_t), bytes);
  uint32_t size;
  std::memcpy(&size, bytes.data(), sizeof size);
  ids_.read(members_[record].id + sizeof size, size, bytes);
  return bytes;
}

std::optional<Duplicate> Clusters::next() {
  const uint32_t record = next_++;
  require(record < members_.size(), "the inputs have changed between the two readings");
  if (members_[record].parent == outside) return std::nullopt;
  const uint32_t first = root(record);
  if (size_[first] == 1 || (keep_ != Keep::none && winner_[first] == record)) return std::nullopt;
  const uint32_t of = keep_ == Keep::none && record != first ? first : winner_[first];
  Duplicate duplicate{id(of), id(first), std::nullopt};
  const uint32_t a = members_[record].text, b = members_[of].text;
  NearIndex* near = index_.near();
  if (near && !index_.exact()) duplicate.jaccard = near->jaccard(a, b);
  if (near && index_.exact() && a != b) duplicate.jaccard = near->jaccard(near_text_[a], near_text_[b]);
  return duplicate;
}

}  // namespace ds
