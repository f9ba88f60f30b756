#include "clean/duplicates/exact_index.h"

#include <cstring>

#include "base/error.h"

namespace ds {

static std::string in_folder(const std::string& folder, const char* name) {
  return folder.empty() ? "" : folder + "/" + name;
}

ExactIndex::ExactIndex(const std::string& folder, const LogMark& mark)
    : hashes_(in_folder(folder, "exact.hashes")),
      places_(in_folder(folder, "exact.places")),
      ids_(folder.empty() ? Spill() : Spill::open(in_folder(folder, "exact.ids"))) {
  if (!folder.empty()) load(folder, mark);
}

void ExactIndex::load(const std::string& folder, const LogMark& mark) {
  log_.emplace(in_folder(folder, "exact.log"), sizeof(Row));
  log_->load(mark, [&](const char* bytes) {
    Row row;
    std::memcpy(&row, bytes, sizeof row);
    enter(row);
  });
  if (size_ == 0) return ids_.truncate(0);
  uint32_t last_bytes;
  const uint64_t last = reinterpret_cast<const uint64_t*>(places_.data())[size_ - 1], most = ids_.size();
  const bool begins = most >= sizeof last_bytes && last <= most - sizeof last_bytes;
  require(begins, folder, "/exact.ids: the index is damaged: text ", size_ - 1, " lies outside this file");
  std::string bytes;
  ids_.read(last, sizeof last_bytes, bytes);
  std::memcpy(&last_bytes, bytes.data(), sizeof last_bytes);
  const uint64_t end = last + sizeof last_bytes + last_bytes;
  require(end <= most, folder, "/exact.ids: the index is damaged: text ", size_ - 1, " lies outside this file");
  ids_.truncate(end);
}

void ExactIndex::enter(const Row& row) {
  require(size_ < UINT32_MAX - 1, "exact deduplication is limited to 2^32 distinct texts");
  hashes_.insert({static_cast<uint32_t>(row.high >> 32), size_ + 1, row.low});
  if (places_.size() < (size_ + size_t{1}) * sizeof(uint64_t))
    places_.grow(places_.size() + places_.size() / 8 + sizeof(uint64_t));
  reinterpret_cast<uint64_t*>(places_.data())[size_++] = row.place;
}

std::optional<uint32_t> ExactIndex::find(Hash128 hash) const {
  std::optional<uint32_t> found;
  hashes_.find(static_cast<uint32_t>(hash.high >> 32), [&](const Slot& slot) {
    if (slot.rest == hash.low && !found) found = slot.value_plus_1 - 1;
  });
  return found;
}

void ExactIndex::add(Hash128 hash, std::string_view id) {
  const auto bytes = static_cast<uint32_t>(id.size());
  const Row row{hash.high, hash.low, ids_.append({reinterpret_cast<const char*>(&bytes), sizeof bytes})};
  ids_.append(id);
  if (log_) log_->append({reinterpret_cast<const char*>(&row), sizeof row});
  enter(row);
}

std::string ExactIndex::id(uint32_t text) const {
  const uint64_t place = reinterpret_cast<const uint64_t*>(places_.data())[text];
  std::string bytes;
  ids_.read(place, sizeof(uint32_t), bytes);
  uint32_t size;
  std::memcpy(&size, bytes.data(), sizeof size);
  ids_.read(place + sizeof size, size, bytes);
  return bytes;
}

LogMark ExactIndex::mark() const { return log_ ? log_->mark() : LogMark{}; }

void ExactIndex::flush() {
  ids_.flush();
  if (log_) log_->flush();
}

}  // namespace ds
