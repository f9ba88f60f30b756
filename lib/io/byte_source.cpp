#include "io/byte_source.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/stop.h"

namespace ds {

static constexpr size_t kInput = size_t{1} << 20;

struct ByteSource::Decoder {
  virtual ~Decoder() = default;
  virtual size_t read(ByteSource& source, char* out, size_t capacity) = 0;
};

struct ByteSource::Plain : Decoder {
  size_t read(ByteSource& source, char* out, size_t capacity) override {
    const size_t sniffed = std::min(capacity, source.size_ - source.next_);
    if (sniffed == 0) return source.read_stored(out, capacity);
    std::memcpy(out, source.input_.get() + source.next_, sniffed);
    source.next_ += sniffed;
    return sniffed;
  }
};

struct ByteSource::Zstd : Decoder {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  size_t wanted = 0;  // 0 between frames
  Zstd() {
    require(context != nullptr, "no memory to decompress with");
    // Data sets are published with --long=31: its window of 2 GiB is memory that such a file asks for and others do
    // not.
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  ~Zstd() override { ZSTD_freeDCtx(context); }
  [[noreturn]] static void fail_with(size_t code);
  size_t read(ByteSource& source, char* out, size_t capacity) override {
    ZSTD_outBuffer to{out, capacity, 0};
    while (to.pos == 0) {
      // What the decoder still holds comes out before more is read: a frame may end in the middle of a buffer.
      const bool more = source.next_ != source.size_ || source.fill();
      ZSTD_inBuffer from{source.input_.get() + source.next_, source.size_ - source.next_, 0};
      if (!more && wanted == 0) return 0;
      wanted = ZSTD_decompressStream(context, &to, &from);
      if (ZSTD_isError(wanted)) fail_with(wanted);
      source.next_ += from.pos;
      require(more || to.pos > 0 || wanted == 0, "truncated zstd data: the file ends inside a frame");
    }
    return to.pos;
  }
};

void ByteSource::Zstd::fail_with(size_t code) {
  switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_frameParameter_windowTooLarge:
      fail("zstd data with a window over 2 GiB: compress it with --long=31 or less");
    case ZSTD_error_memory_allocation:
      fail("no memory to decompress with: zstd data with a large window");
    default:
      fail("damaged zstd data: ", ZSTD_getErrorName(code));
  }
}

struct ByteSource::Gzip : Decoder {
  z_stream stream{};
  bool inside = false;  // a member has begun and not ended
  Gzip() { require(inflateInit2(&stream, 15 + 16) == Z_OK, "no memory to decompress with"); }
  ~Gzip() override { inflateEnd(&stream); }
  size_t read(ByteSource& source, char* out, size_t capacity) override {
    capacity = std::min(capacity, size_t{1} << 30);
    stream.next_out = reinterpret_cast<Bytef*>(out);
    stream.avail_out = static_cast<uInt>(capacity);
    while (stream.avail_out == capacity) {
      const bool more = source.next_ != source.size_ || source.fill();
      if (!more && !inside) return 0;
      if (!inside) {
        require(inflateReset(&stream) == Z_OK, "damaged gzip data");
        inside = true;
      }
      stream.next_in = reinterpret_cast<Bytef*>(source.input_.get() + source.next_);
      stream.avail_in = static_cast<uInt>(source.size_ - source.next_);
      const int result = inflate(&stream, Z_NO_FLUSH);
      source.next_ = source.size_ - stream.avail_in;
      if (result == Z_STREAM_END) inside = false;
      const bool moved = stream.avail_out != capacity || result == Z_STREAM_END;
      require(more || moved, "truncated gzip data: the file ends inside a member");
      require(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR,
              "damaged gzip data: ", stream.msg ? stream.msg : "not a gzip member");
    }
    return capacity - stream.avail_out;
  }
};

ByteSource::ByteSource(const std::string& path) {
  if (path == "-") {
    fd_ = STDIN_FILENO;
  } else {
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require(fd_ >= 0, std::strerror(errno));
    owns_fd_ = true;
    posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
}

ByteSource::~ByteSource() {
  if (owns_fd_) close(fd_);
}

size_t ByteSource::read_stored(char* out, size_t capacity) {
  for (;;) {
    if (ended_) return 0;
    // A signal interrupts a read in one thread only, and that may be another one: wait for input with an eye on the
    // flag.
    pollfd waited{fd_, POLLIN, 0};
    while (poll(&waited, 1, 200) <= 0) throw_if_stopped();
    const ssize_t got = ::read(fd_, out, capacity);
    if (got >= 0) {
      ended_ = got == 0;
      hasher_.update(out, static_cast<size_t>(got));
      stored_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
    throw_if_stopped();
    require(errno == EINTR, "cannot read: ", std::strerror(errno));
  }
}

bool ByteSource::fill() {
  next_ = 0;
  size_ = read_stored(input_.get(), kInput);
  return size_ > 0;
}

// zstd frames (also skippable ones) and gzip members begin with a magic number; all else is plain.
void ByteSource::sniff() {
  input_ = std::make_unique_for_overwrite<char[]>(kInput);
  while (size_ < 4) {
    const size_t got = read_stored(input_.get() + size_, kInput - size_);
    if (got == 0) break;
    size_ += got;
  }
  const auto byte = [&](size_t i) { return i < size_ ? static_cast<unsigned char>(input_[i]) : 0u; };
  const uint32_t magic = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
  if (size_ >= 4 && (magic == 0xfd2fb528 || (magic & 0xfffffff0) == 0x184d2a50))
    decoder_ = std::make_unique<Zstd>();
  else if (byte(0) == 0x1f && byte(1) == 0x8b)
    decoder_ = std::make_unique<Gzip>();
  else
    decoder_ = std::make_unique<Plain>();
}

size_t ByteSource::read(char* out, size_t capacity) {
  if (!decoder_) sniff();
  return decoder_->read(*this, out, capacity);
}

}  // namespace ds
