#include "clean/duplicates/near_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace ds {

constexpr size_t most_compared = 256;   // candidates, once one of them is near
constexpr size_t most_of_a_key = 1024;  // texts under one key: a template of thousands of pages needs no more
constexpr size_t cache_slots = 2048, most_cached = 8192;  // texts, and shingles of one
constexpr uint32_t sketched = 64;                         // MinHash values whose low bits are kept

static double checked_threshold(double threshold) {
  if (!(threshold > 0 && threshold <= 1))
    throw UsageError(cat("the Jaccard threshold of near duplicates must be above 0 and at most 1, not ", threshold));
  return threshold;
}

// Two values agree in two bits where they are equal, which they are with probability J, and else by chance of 1/4. Four
// standard deviations below the mean a pair at the threshold is lost with probability 0.00003.
static uint32_t least_agreement(double threshold) {
  const double p = threshold + (1 - threshold) / 4;
  const double least = sketched * p - 4 * std::sqrt(sketched * p * (1 - p));
  return static_cast<uint32_t>(std::max(0.0, least));
}

static std::string in_folder(const std::string& folder, const char* name) {
  return folder.empty() ? "" : folder + "/" + name;
}

NearIndex::NearIndex(const NearOptions& options, const std::string& folder, const LogMark& mark)
    : options_(options),
      hasher_(minhash_shape(checked_threshold(options.threshold)), options.seed),
      least_agreement_(least_agreement(options.threshold)),
      bands_(in_folder(folder, "near.bands")),
      documents_(in_folder(folder, "near.documents")),
      texts_(folder.empty() ? Spill() : Spill::open(in_folder(folder, "near.texts"))),
      cache_(cache_slots) {
  if (!folder.empty()) load(folder, mark);
}

// The log holds what the tables are made from: a row a text.
void NearIndex::load(const std::string& folder, const LogMark& mark) {
  std::vector<uint32_t> keys(hasher_.shape().bands);
  log_.emplace(in_folder(folder, "near.log"), sizeof(Document) + keys.size() * sizeof(uint32_t));
  log_->load(mark, [&](const char* row) {
    Document document;
    std::memcpy(&document, row, sizeof document);
    std::memcpy(keys.data(), row + sizeof document, keys.size() * sizeof(uint32_t));
    enter(document, keys.data());
  });
  if (size_ == 0) return texts_.truncate(0);
  const uint64_t last = document(size_ - 1).place, most = texts_.size();
  const bool begins = most >= sizeof(Header) && last <= most - sizeof(Header);
  require(begins, folder, "/near.texts: the index is damaged: text ", size_ - 1, " lies outside this file");
  const Header h = header(size_ - 1);
  const uint64_t end = last + sizeof h + h.id_bytes + h.text_bytes;
  require(end <= most, folder, "/near.texts: the index is damaged: text ", size_ - 1, " lies outside this file");
  texts_.truncate(end);
}

NearSketch NearIndex::sketch(std::string_view text, const std::vector<uint64_t>* words) const {
  NearSketch sketch;
  if (words && options_.shingle.unit == ShingleKind::Unit::word)
    word_shingle_sequence(*words, options_.shingle.size, sketch.shingles);
  else
    shingle_sequence(text, options_.shingle, sketch.shingles);
  thread_local std::vector<uint32_t> values;
  hasher_.signature(sketch.shingles, values);
  sketch.keys = band_hashes(values, hasher_.shape());
  for (uint32_t i = 0; i < sketched; ++i) {
    sketch.bits[0] |= uint64_t{values[i] & 1} << i;
    sketch.bits[1] |= uint64_t{values[i] >> 1 & 1} << i;
  }
  return sketch;
}

// Fills candidates_: the texts that share a key and agree in their bits, the most similar by these first.
void NearIndex::propose(const NearSketch& sketch) {
  proposed_.clear();
  candidates_.clear();
  for (const uint64_t key : sketch.keys) bands_.prefetch(static_cast<uint32_t>(key >> 32));
  for (const uint64_t key : sketch.keys)
    bands_.find(static_cast<uint32_t>(key >> 32),
                [&](const Slot& slot) { proposed_.push_back(slot.value_plus_1 - 1); });
  std::sort(proposed_.begin(), proposed_.end());
  proposed_.erase(std::unique(proposed_.begin(), proposed_.end()), proposed_.end());
  work_.proposed += proposed_.size();
  for (const uint32_t text : proposed_) {
    const auto& bits = document(text).bits;
    const uint64_t different = (bits[0] ^ sketch.bits[0]) | (bits[1] ^ sketch.bits[1]);
    const auto agreement = static_cast<uint32_t>(sketched - std::popcount(different));
    if (agreement >= least_agreement_) candidates_.push_back({text, agreement});
  }
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.agreement > b.agreement; });
}

NearIndex::Header NearIndex::header(uint32_t text) const {
  std::string bytes;
  texts_.read(document(text).place, sizeof(Header), bytes);
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

std::string NearIndex::id(uint32_t text) const {
  std::string bytes;
  texts_.read(document(text).place + sizeof(Header), header(text).id_bytes, bytes);
  return bytes;
}

uint32_t NearIndex::cluster(uint32_t text) const { return header(text).cluster; }

std::string NearIndex::text(uint32_t text) const {
  const Header h = header(text);
  std::string bytes;
  texts_.read(document(text).place + sizeof(Header) + h.id_bytes, h.text_bytes, bytes);
  return bytes;
}

const std::vector<uint64_t>& NearIndex::set_of(uint32_t text) {
  Cached& cached = cache_[text % cache_slots];
  if (cached.text_plus_1 == text + 1) return cached.set;
  std::vector<uint64_t> sequence;
  shingle_sequence(this->text(text), options_.shingle, sequence);
  other_.assign(sequence);
  cached.set.assign(other_.distinct().begin(), other_.distinct().end());
  cached.text_plus_1 = cached.set.size() <= most_cached ? text + 1 : 0;
  return cached.set;
}

// The Jaccard index of current_ with an earlier text's set, where it reaches the threshold.
std::optional<double> NearIndex::compare(uint32_t text) {
  ++work_.compared;
  const std::vector<uint64_t>& set = set_of(text);
  const size_t a = current_.size(), b = set.size();
  if (ds::jaccard(std::min(a, b), a, b) < options_.threshold) return std::nullopt;
  if (std::equal(set.begin(), set.end(), current_.distinct().begin(), current_.distinct().end())) return 1;
  // Elements that may be missing before the index falls below the threshold; one more for the rounding.
  const double least = options_.threshold / (1 + options_.threshold) * static_cast<double>(a + b);
  const size_t most_missing = b - std::min(b, static_cast<size_t>(least)) + 1;
  size_t missing = 0;
  for (const uint64_t shingle : set)
    if (!current_.contains(shingle) && ++missing > most_missing) return std::nullopt;
  const double index = ds::jaccard(b - missing, a, b);
  if (index < options_.threshold) return std::nullopt;
  return index;
}

double NearIndex::jaccard(uint32_t a, uint32_t b) {
  if (a == b) return 1;
  current_.assign(set_of(a));
  size_t common = 0;
  const std::vector<uint64_t>& set = set_of(b);
  for (const uint64_t shingle : set) common += current_.contains(shingle);
  return ds::jaccard(common, current_.size(), set.size());
}

std::vector<NearMatch> NearIndex::matches(const NearSketch& sketch) {
  propose(sketch);
  std::vector<NearMatch> found;
  if (candidates_.empty()) return found;
  current_.assign(sketch.shingles);
  size_t compared = 0;
  for (const Candidate& candidate : candidates_) {
    if (!found.empty() && compared >= most_compared) break;
    ++compared;
    if (const auto index = compare(candidate.text)) found.push_back({candidate.text, *index});
    if (!found.empty() && found.back().jaccard == 1) break;  // the same set: nothing is nearer, and it was the first
  }
  std::sort(found.begin(), found.end(), [](const NearMatch& a, const NearMatch& b) {
    return a.jaccard != b.jaccard ? a.jaccard > b.jaccard : a.of < b.of;
  });
  return found;
}

std::optional<NearMatch> NearIndex::best(const NearSketch& sketch) {
  const auto found = matches(sketch);
  if (found.empty()) return std::nullopt;
  return found.front();
}

void NearIndex::enter(const Document& document, const uint32_t* keys) {
  require(size_ < UINT32_MAX - 1, "near-duplicate search is limited to 2^32 texts");
  // By an eighth at a time, as the tables.
  if (documents_.size() < (size_ + size_t{1}) * sizeof(Document))
    documents_.grow(documents_.size() + documents_.size() / 8 + sizeof(Document));
  reinterpret_cast<Document*>(documents_.data())[size_] = document;
  for (size_t band = 0; band < hasher_.shape().bands; ++band)
    bands_.insert({keys[band], size_ + 1}, most_of_a_key);
  ++size_;
}

void NearIndex::add(const NearSketch& sketch, std::string_view id, uint32_t cluster, std::string_view text) {
  require(id.size() < UINT32_MAX && text.size() < UINT32_MAX, "a text of ", text.size(), " bytes cannot be compared");
  const Header header{cluster, static_cast<uint32_t>(id.size()), static_cast<uint32_t>(text.size())};
  Document document{sketch.bits, texts_.append({reinterpret_cast<const char*>(&header), sizeof header})};
  texts_.append(id);
  texts_.append(text);
  std::vector<uint32_t> keys;
  for (const uint64_t key : sketch.keys) keys.push_back(static_cast<uint32_t>(key >> 32));
  if (log_) {
    std::string row(reinterpret_cast<const char*>(&document), sizeof document);
    row.append(reinterpret_cast<const char*>(keys.data()), keys.size() * sizeof(uint32_t));
    log_->append(row);
  }
  enter(document, keys.data());
}

void NearIndex::flush() {
  texts_.flush();
  if (log_) log_->flush();
}

LogMark NearIndex::mark() const { return log_ ? log_->mark() : LogMark{}; }

NearIndex::Work NearIndex::work() const {
  Work work = work_;
  work.memory_bytes = bands_.bytes() + documents_.size();
  work.spilled_bytes = texts_.size();
  return work;
}

}  // namespace ds
