#include "io/spill.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/stop.h"

namespace ds {

struct Spill::Impl {
  static constexpr size_t kBuffer = size_t{1} << 20;

  std::string name;  // as messages call it
  bool anonymous = false;
  int fd = -1;
  mutable std::mutex mutex;          // guards `tail`, and every change of `written`
  std::string tail;                  // bytes from `written` on, not yet in the file
  std::atomic<uint64_t> written{0};  // bytes in the file; below it readers need no lock

  ~Impl() {
    if (fd >= 0) close(fd);
  }

  [[noreturn]] void write_failed(int reason) const {
    system_fail(name, ": cannot write", anonymous ? " a temporary file there: " : ": ", std::strerror(reason),
                anonymous && (reason == ENOSPC || reason == EDQUOT) ? " (TMPDIR names another folder)" : "");
  }

  void write_at(uint64_t offset, std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0) {
        if (errno != EINTR) write_failed(errno);
        throw_if_stopped();
        continue;
      }
      bytes.remove_prefix(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
  }

  void read_at(uint64_t offset, char* bytes, size_t size) const {
    while (size > 0) {
      const ssize_t count = pread(fd, bytes, size, static_cast<off_t>(offset));
      if (count < 0) {
        if (errno != EINTR) system_fail(name, ": cannot read: ", std::strerror(errno));
        throw_if_stopped();
        continue;
      }
      if (count == 0) system_fail(name, ": ends at byte ", offset, ", it was longer before");
      bytes += count;
      offset += static_cast<uint64_t>(count);
      size -= static_cast<size_t>(count);
    }
  }

  void write_out(std::string_view bytes) {  // with the mutex held
    const uint64_t end = written.load(std::memory_order_relaxed);
    write_at(end, bytes);
    written.store(end + bytes.size(), std::memory_order_release);
  }

  void write_tail() {
    write_out(tail);
    tail.clear();
  }

  void require_inside(uint64_t offset, uint64_t size, uint64_t end) const {
    require(offset <= end && size <= end - offset, name, ": ", size, " bytes at byte ", offset,
            " were asked for, it has ", end);
  }
};

static bool can_hold_files(const char* folder) {
  struct stat found;
  return stat(folder, &found) == 0 && S_ISDIR(found.st_mode) && access(folder, W_OK | X_OK) == 0;
}

std::string spill_folder() {
  const char* named = std::getenv("TMPDIR");
  if (named && *named) return named;
  return can_hold_files("/var/tmp") ? "/var/tmp" : "/tmp";
}

// Not every file system knows O_TMPFILE: there a file is made and its name removed at once.
static int open_anonymous(const std::string& folder) {
  int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string name = folder + "/ds-spill-XXXXXX";
  fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd >= 0) unlink(name.c_str());
  return fd;
}

Spill::Spill(const std::string& folder) : impl_(std::make_unique<Impl>()) {
  impl_->name = folder;
  impl_->anonymous = true;
  impl_->fd = open_anonymous(folder);
  require(impl_->fd >= 0, folder, ": cannot make a temporary file there: ", std::strerror(errno));
}

Spill::Spill(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Spill Spill::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->name = path;
  impl->fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
  require(impl->fd >= 0, path, ": cannot open it for writing: ", std::strerror(errno));
  struct stat found;
  require(fstat(impl->fd, &found) == 0, path, ": ", std::strerror(errno));
  require(S_ISREG(found.st_mode), path, ": a regular file was expected");
  impl->written = static_cast<uint64_t>(found.st_size);
  return Spill(std::move(impl));
}

Spill::~Spill() = default;
Spill::Spill(Spill&&) noexcept = default;
Spill& Spill::operator=(Spill&&) noexcept = default;

uint64_t Spill::append(std::string_view bytes) {
  Impl& file = *impl_;
  const std::lock_guard lock(file.mutex);
  if (file.tail.size() + bytes.size() > Impl::kBuffer) file.write_tail();
  const uint64_t offset = file.written.load(std::memory_order_relaxed) + file.tail.size();
  if (bytes.size() > Impl::kBuffer)
    file.write_out(bytes);
  else
    file.tail.append(bytes);
  return offset;
}

void Spill::read(uint64_t offset, size_t size, std::string& bytes) const {
  const Impl& file = *impl_;
  uint64_t written = file.written.load(std::memory_order_acquire);
  size_t in_file = size;
  if (offset > written || size > written - offset) {
    const std::lock_guard lock(file.mutex);
    written = file.written.load(std::memory_order_relaxed);
    file.require_inside(offset, size, written + file.tail.size());
    bytes.resize(size);
    in_file = offset >= written ? 0 : static_cast<size_t>(std::min<uint64_t>(size, written - offset));
    if (in_file < size)
      std::memcpy(bytes.data() + in_file, file.tail.data() + (offset + in_file - written), size - in_file);
  } else {
    bytes.resize(size);
  }
  file.read_at(offset, bytes.data(), in_file);
}

void Spill::flush() {
  const std::lock_guard lock(impl_->mutex);
  impl_->write_tail();
}

void Spill::truncate(uint64_t size) {
  Impl& file = *impl_;
  const std::lock_guard lock(file.mutex);
  const uint64_t written = file.written.load(std::memory_order_relaxed);
  file.require_inside(size, 0, written + file.tail.size());
  if (size >= written) {
    file.tail.resize(static_cast<size_t>(size - written));
    return;
  }
  int done;
  do done = ftruncate(file.fd, static_cast<off_t>(size));
  while (done != 0 && errno == EINTR);
  if (done != 0) file.write_failed(errno);
  file.tail.clear();
  file.written.store(size, std::memory_order_release);
}

uint64_t Spill::size() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->written.load(std::memory_order_relaxed) + impl_->tail.size();
}

}  // namespace ds
