#include "clean/index_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

static std::string options_json(const DedupOptions& options) {
  JsonWriter w;
  w.open('{').field("exact", options.exact).field("exact_words", options.exact && options.exact_words);
  if (options.near) {
    w.field("near", options.near->threshold);
    w.field("shingle", shingle_kind_name(options.near->shingle));
    w.field("seed", options.near->seed);
  }
  return w.close().text;
}

static int lock_folder(const std::string& folder, bool writable) {
  const std::string path = folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  require(fd >= 0, path, ": cannot be made: ", std::strerror(errno));
  if (flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return fd;
  close(fd);
  fail(folder, ": another run is using this index; wait until it has ended, or name another folder");
}

static void sync_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;  // an index without this part
  const bool synced = fsync(fd) == 0;
  close(fd);
  require(synced, path, ": cannot be written to disk: ", std::strerror(errno));
}

IndexFolder::IndexFolder(const std::string& folder, const DedupOptions& options, bool writable, const std::string& run)
    : folder_(folder), options_json_(options_json(options)), run_(run) {
  const std::string state = folder + "/state.json";
  if (writable) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    require(!failed, folder, ": cannot be made: ", failed.message());
  } else {
    require(std::filesystem::exists(state), folder, ": holds no index (no state.json); one is made by --index");
  }
  lock_.file = lock_folder(folder, writable);
  if (std::filesystem::exists(state)) {
    const Json json = parse_json_file(state);
    const auto number = [&](const char* key) {
      const Json* found = json.find(key);
      require(found != nullptr, state, ": has no ", key);
      const int64_t value = found->as_int(cat(state, ": ", key));
      require(value >= 0 && value < UINT32_MAX, state, ": ", key, " is ", value);
      return static_cast<uint32_t>(value);
    };
    const Json* made_with = json.find("options");
    require(made_with != nullptr && made_with->type == Json::Type::string, state, ": has no options");
    require(made_with->text == options_json_, folder, ": this index was made with ", made_with->text, ", not with ",
            options_json_, "; use the same options or another folder");
    const Json* last_run = json.find("run");
    const bool again = !run.empty() && last_run != nullptr && last_run->text == run;
    exact_before_ = number(again ? "exact_texts_before" : "exact_texts");
    near_before_ = number(again ? "near_texts_before" : "near_texts");
    if (const Json* shards = json.find("finished"))
      for (const Json& shard : shards->items) finished_.insert(shard.as_string(cat(state, ": finished")));
  }
  index_ = std::make_unique<DedupIndex>(options, folder, exact_before_, near_before_);
}

IndexFolder::Lock::~Lock() {
  if (file >= 0) close(file);
}

void IndexFolder::commit(const std::string& shard) {
  if (!shard.empty()) finished_.insert(shard);
  index_->flush();
  for (const char* name : {"/exact.ids", "/exact.log", "/near.texts", "/near.log"}) sync_file(folder_ + name);
  JsonWriter w;
  w.open('{').field("options", options_json_);
  w.field("exact_texts", uint64_t{index_->exact() ? index_->exact()->size() : 0});
  w.field("near_texts", uint64_t{index_->near() ? index_->near()->size() : 0});
  w.field("run", run_).field("exact_texts_before", uint64_t{exact_before_});
  w.field("near_texts_before", uint64_t{near_before_}).open('[', "finished");
  for (const std::string& name : finished_) w.value(name);
  w.close().close().text += '\n';
  write_file(folder_ + "/state.json", w.text, true);
}

}  // namespace ds
