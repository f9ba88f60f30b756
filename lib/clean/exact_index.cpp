#include "clean/exact_index.h"

#include <cstring>

#include "base/error.h"

namespace ds {

static std::string in_folder(const std::string& folder, const char* name) {
  return folder.empty() ? "" : folder + "/" + name;
}

ExactIndex::ExactIndex(const std::string& folder, uint32_t texts)
    : hashes_(in_folder(folder, "exact.hashes")),
      places_(in_folder(folder, "exact.places")),
      ids_(folder.empty() ? Spill() : Spill::open(in_folder(folder, "exact.ids"))) {
  if (folder.empty()) return;
  log_ = Spill::open(in_folder(folder, "exact.log"));
  require(log_->size() / sizeof(Row) >= texts, "the index holds ", log_->size() / sizeof(Row), " texts where ", texts,
          " were written");
  std::string bytes;
  for (uint64_t i = 0; i < texts; ++i) {
    log_->read(i * sizeof(Row), sizeof(Row), bytes);
    Row row;
    std::memcpy(&row, bytes.data(), sizeof row);
    require(row.place < ids_.size(), "the index is damaged: id ", i, " lies outside its file");
    enter(row);
  }
  log_->truncate(texts * sizeof(Row));
  ids_.truncate(texts == 0 ? 0
                           : reinterpret_cast<const uint64_t*>(places_.data())[texts - 1] + sizeof(uint32_t) +
                                 id(texts - 1).size());
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

void ExactIndex::flush() {
  ids_.flush();
  if (log_) log_->flush();
}

}  // namespace ds
