#include "io/output.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"

namespace ds {

// Temporaries that a signal handler may have to unlink: a table of fixed size, since a handler must not allocate.
namespace {
constexpr size_t kTemporaries = 64;
enum : int { kFree, kFilling, kArmed };
struct Temporary {
  std::atomic<int> state{kFree};
  char path[PATH_MAX];
};
Temporary temporaries[kTemporaries];
}  // namespace

static Temporary* remember_temporary(const std::string& path) {
  require(path.size() < PATH_MAX, path, ": the file name is too long");
  for (Temporary& slot : temporaries) {
    int expected = kFree;
    if (!slot.state.compare_exchange_strong(expected, kFilling)) continue;
    std::memcpy(slot.path, path.c_str(), path.size() + 1);
    slot.state = kArmed;
    return &slot;
  }
  fail(path, ": more than ", kTemporaries, " output files are open at once");
}

void remove_temporaries() noexcept {
  for (Temporary& slot : temporaries)
    if (slot.state == kArmed) unlink(slot.path);
}

static std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

static void sync_folder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  require(fd >= 0, folder, ": ", std::strerror(errno));
  const int failed = fsync(fd) != 0 ? errno : 0;
  close(fd);
  require(failed == 0 || failed == EINVAL, folder, ": ", std::strerror(failed));  // EINVAL: a file system without it
}

// The temporaries that runs which were killed left beside a file: of a process that is gone, and that nobody has
// locked.
static void remove_stale_temporaries(const std::string& final_name) {
  const std::string folder = folder_of(final_name), prefix = final_name.substr(final_name.rfind('/') + 1) + ".tmp-";
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(prefix)) continue;
    int process = 0, number = 0, length = 0;
    if (std::sscanf(name.c_str() + prefix.size(), "%d-%d%n", &process, &number, &length) != 2) continue;
    if (prefix.size() + static_cast<size_t>(length) != name.size() || process <= 0) continue;
    if (kill(process, 0) == 0 || errno != ESRCH) continue;
    const int fd = open(entry.path().c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    // The process may live on another machine that shares the folder.
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(entry.path().c_str());
    close(fd);
  }
}

struct OutputFile::Impl {
  static constexpr size_t kBuffer = size_t{1} << 20;
  static constexpr size_t kDirect = size_t{64} << 10;  // from here on a copy costs more than a call

  std::string name;        // as messages call it
  std::string final_name;  // empty: written in place
  std::string temporary_name;
  Temporary* temporary = nullptr;
  int fd = -1;
  bool owns_fd = false, durable = false, finished = false;
  ZSTD_CCtx* zstd = nullptr;
  std::string buffer;  // bytes as given; zstd gets whole buffers, so that no output depends on write()'s sizes
  std::vector<char> compressed;
  uint64_t stored = 0;
  Hasher hasher;

  ~Impl() {
    if (owns_fd && fd >= 0) close(fd);
    if (temporary) {
      unlink(temporary_name.c_str());
      temporary->state = kFree;
    }
    ZSTD_freeCCtx(zstd);
  }

  void open_named(const std::string& path) {
    struct stat found;
    const bool exists = stat(path.c_str(), &found) == 0;
    owns_fd = true;
    if (exists && !S_ISREG(found.st_mode)) {
      fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
      require(fd >= 0, path, ": cannot write: ", std::strerror(errno));
      return;
    }
    final_name = path;
    if (char* resolved = exists ? realpath(path.c_str(), nullptr) : nullptr) {
      final_name = resolved;
      std::free(resolved);
    }
    remove_stale_temporaries(final_name);
    static std::atomic<unsigned> counter{0};
    do {
      temporary_name = cat(final_name, ".tmp-", getpid(), "-", counter++);
      fd = open(temporary_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST);
    require(fd >= 0, path, ": cannot create it: ", std::strerror(errno));
    flock(fd, LOCK_EX | LOCK_NB);  // says that it is in use
    try {
      temporary = remember_temporary(temporary_name);
    } catch (...) {
      unlink(temporary_name.c_str());
      throw;
    }
    if (exists && fchmod(fd, found.st_mode & 07777) != 0) fail(path, ": ", std::strerror(errno));
  }

  void write_stored(const char* data, size_t size) {
    hasher.update(data, size);
    stored += size;
    while (size > 0) {
      const ssize_t written = ::write(fd, data, size);
      if (written < 0) {
        if (errno == EINTR) {
          throw_if_stopped();
          continue;
        }
        if (errno == EPIPE) throw ClosedPipe{};
        system_fail(name, ": cannot write: ", std::strerror(errno));
      }
      data += written;
      size -= static_cast<size_t>(written);
    }
  }

  void compress(std::string_view bytes, ZSTD_EndDirective mode) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{compressed.data(), compressed.size(), 0};
      const size_t left = ZSTD_compressStream2(zstd, &out, &in, mode);
      require(!ZSTD_isError(left), name, ": zstd: ", ZSTD_getErrorName(left));
      if (out.pos) write_stored(compressed.data(), out.pos);
      if (mode == ZSTD_e_end ? left == 0 : in.pos == in.size) return;
    }
  }

  void pass_on(std::string_view bytes) {
    if (bytes.empty()) return;
    if (zstd)
      compress(bytes, ZSTD_e_continue);
    else
      write_stored(bytes.data(), bytes.size());
  }
};

OutputFile::OutputFile(std::string path, bool durable) : impl_(std::make_unique<Impl>()) {
  impl_->durable = durable;
  if (path.empty() || path == "-") {
    impl_->name = "<stdout>";
    impl_->fd = STDOUT_FILENO;
  } else {
    impl_->name = path;
    impl_->open_named(path);
  }
  if (path.ends_with(".zst")) {
    impl_->zstd = ZSTD_createCCtx();
    require(impl_->zstd != nullptr, path, ": no memory to compress with");
    ZSTD_CCtx_setParameter(impl_->zstd, ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(impl_->zstd, ZSTD_c_checksumFlag, 1);
    // Jobs of a fixed size on zstd's own threads: the bytes are the same for any number of them, one included.
    const size_t failed =
        ZSTD_CCtx_setParameter(impl_->zstd, ZSTD_c_nbWorkers, static_cast<int>(std::min<size_t>(threads(), 64)));
    require(!ZSTD_isError(failed), path, ": this libzstd was built without threads");
    ZSTD_CCtx_setParameter(impl_->zstd, ZSTD_c_jobSize, 4 << 20);
    impl_->compressed.resize(ZSTD_CStreamOutSize());
  }
  impl_->buffer.reserve(Impl::kBuffer);
}

OutputFile::~OutputFile() = default;
OutputFile::OutputFile(OutputFile&&) noexcept = default;

void OutputFile::write(std::string_view bytes) {
  std::string& buffer = impl_->buffer;
  if (!impl_->zstd && bytes.size() >= Impl::kDirect) {
    impl_->pass_on(buffer);
    buffer.clear();
    return impl_->pass_on(bytes);
  }
  while (!bytes.empty()) {
    if (buffer.empty() && bytes.size() >= Impl::kBuffer) {  // a whole buffer that need not be copied
      impl_->pass_on(bytes.substr(0, Impl::kBuffer));
      bytes.remove_prefix(Impl::kBuffer);
      continue;
    }
    const size_t taken = std::min(bytes.size(), Impl::kBuffer - buffer.size());
    buffer.append(bytes, 0, taken);
    bytes.remove_prefix(taken);
    if (buffer.size() == Impl::kBuffer) {
      impl_->pass_on(buffer);
      buffer.clear();
    }
  }
}

void OutputFile::finish() {
  Impl& out = *impl_;
  if (out.finished) return;
  out.pass_on(out.buffer);
  out.buffer.clear();
  if (out.zstd) out.compress({}, ZSTD_e_end);
  bool written = !out.durable || out.final_name.empty() || fsync(out.fd) == 0;
  if (written && out.owns_fd) written = close(std::exchange(out.fd, -1)) == 0;
  if (!written) fail(out.name, ": cannot write: ", std::strerror(errno));
  out.finished = true;
}

void OutputFile::commit() {
  finish();
  Impl& out = *impl_;
  if (out.final_name.empty()) return;
  if (std::rename(out.temporary_name.c_str(), out.final_name.c_str()) != 0)
    fail(out.name, ": cannot rename its temporary: ", std::strerror(errno));
  out.temporary->state = kFree;
  out.temporary = nullptr;
  if (out.durable) sync_folder(folder_of(out.final_name));
}

uint64_t OutputFile::bytes() const { return impl_->stored; }
Hash128 OutputFile::hash() const { return impl_->hasher.digest(); }
const std::string& OutputFile::path() const { return impl_->name; }

void write_file(const std::string& path, std::string_view bytes, bool durable) {
  OutputFile out(path, durable);
  out.write(bytes);
  out.commit();
}

void publish_folder(const std::string& temporary, const std::string& final_name) {
  sync_folder(temporary);
  if (std::rename(temporary.c_str(), final_name.c_str()) != 0)
    fail(final_name, ": cannot rename ", temporary, " to it: ", std::strerror(errno));
  sync_folder(folder_of(final_name));
}

}  // namespace ds
