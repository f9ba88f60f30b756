#include "clean/duplicates/index_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
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

std::string run_name(const StreamOptions& stream) {
  JsonWriter w;
  w.open('[');
  for (const std::string& input : stream.inputs) {
    struct stat found;
    if (input == "-" || stat(input.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) return "";
    w.value(std::filesystem::absolute(input).string()).value(static_cast<uint64_t>(found.st_size));
    w.value(cat(found.st_mtim.tv_sec, ".", found.st_mtim.tv_nsec));
  }
  struct stat output;
  const bool exists = stat(stream.output.c_str(), &output) == 0;
  if (stream.output == "-" || (exists && !S_ISREG(output.st_mode))) return "";
  w.value(std::filesystem::absolute(stream.output).string());
  return w.value(stream.shard.index).value(stream.shard.count).close().text;
}

static void write_marks(JsonWriter& w, const IndexMarks& marks) {
  w.open('{', "exact").field("texts", uint64_t{marks.exact.rows}).field("log", marks.exact.hash).close();
  w.open('{', "near").field("texts", uint64_t{marks.near.rows}).field("log", marks.near.hash).close();
}

static const Json& member(const Json& json, const char* key, Json::Type type, const std::string& where) {
  const Json* found = json.find(key);
  require(found != nullptr && found->type == type, where, ": the index is damaged: there is no ", key);
  return *found;
}

static LogMark read_mark(const Json& json, const char* key, const std::string& where) {
  const Json& mark = member(json, key, Json::Type::object, where);
  const int64_t texts = member(mark, "texts", Json::Type::number, where).as_int(cat(where, ": texts"));
  require(texts >= 0 && texts < UINT32_MAX, where, ": the index is damaged: ", key, " has ", texts, " texts");
  return {static_cast<uint32_t>(texts), member(mark, "log", Json::Type::string, where).text};
}

static IndexMarks read_marks(const Json& json, const std::string& where) {
  return {read_mark(json, "exact", where), read_mark(json, "near", where)};
}

// True where the run was the last one and is done again.
bool IndexFolder::read_state() {
  const std::string state = folder_ + "/state.json";
  const Json json = parse_json_file(state);
  const Json& made_with = member(json, "options", Json::Type::string, state);
  require(made_with.text == options_json_, folder_, ": this index was made with ", made_with.text, ", not with ",
          options_json_, "; use the same options or another folder");
  before_ = read_marks(json, state);
  for (const Json& shard : member(json, "finished", Json::Type::array, state).items)
    finished_.insert(shard.as_string(cat(state, ": finished")));
  const Json* last = json.find("last");
  if (run_.empty() || !last || member(*last, "run", Json::Type::string, state).text != run_) return false;
  before_ = read_marks(member(*last, "before", Json::Type::object, state), state);
  return true;
}

void IndexFolder::write_state(const IndexMarks& marks, bool with_run) const {
  JsonWriter w;
  w.open('{').field("options", options_json_);
  write_marks(w, marks);
  w.open('[', "finished");
  for (const std::string& name : finished_) w.value(name);
  w.close();
  if (with_run && !run_.empty()) {
    w.open('{', "last").field("run", run_).open('{', "before");
    write_marks(w, before_);
    w.close().close();
  }
  w.close().text += '\n';
  write_file(folder_ + "/state.json", w.text, true);
}

static bool exists(const std::string& path) {
  std::error_code failed;
  const bool there = std::filesystem::exists(path, failed);
  require(!failed, path, ": ", failed.message());
  return there;
}

IndexFolder::IndexFolder(const std::string& folder, const DedupOptions& options, bool writable, std::string run)
    : folder_(folder), options_json_(options_json(options)), run_(std::move(run)) {
  const std::string state = folder + "/state.json";
  if (writable) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    require(!failed, folder, ": cannot be made: ", failed.message());
  } else {
    require(exists(state), folder, ": holds no index (no state.json); one is made by --index");
  }
  lock_.file = lock_folder(folder, writable);
  // What is forgotten goes out of the state first: a kill may come before the logs are cut.
  if (exists(state) && read_state()) {
    write_state(before_, false);
    info(folder, ": this run was the last one of this index; what it added is forgotten, and added again");
  }
  index_ = std::make_unique<DedupIndex>(options, folder, before_);
}

IndexFolder::Lock::~Lock() {
  if (file >= 0) close(file);
}

void IndexFolder::commit(const std::string& shard) {
  if (!shard.empty()) finished_.insert(shard);
  index_->flush();
  for (const char* name : {"/exact.ids", "/exact.log", "/near.texts", "/near.log"}) sync_file(folder_ + name);
  write_state(index_->marks(), true);
}

}  // namespace ds
