#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/sizes.h"
#include "io/json.h"

namespace ds {

static_assert(std::endian::native == std::endian::little);

// Far above any real file: a vocabulary has 10^5 entries, a model of experts 10^3 tensors.
static constexpr uint64_t kMaxKeys = 1 << 16, kMaxTensors = 1 << 17, kMaxItems = 1 << 24, kMaxNameBytes = 65535;

// ---- Types ----

namespace {
struct TypeRow {
  GgufType type;
  const char* name;
  int64_t values, bytes;  // of a block
};
constexpr TypeRow kTypes[] = {
    {GgufType::f32, "F32", 1, 4},       {GgufType::f16, "F16", 1, 2},       {GgufType::bf16, "BF16", 1, 2},
    {GgufType::q4_0, "Q4_0", 32, 18},   {GgufType::q4_1, "Q4_1", 32, 20},   {GgufType::q5_0, "Q5_0", 32, 22},
    {GgufType::q5_1, "Q5_1", 32, 24},   {GgufType::q8_0, "Q8_0", 32, 34},   {GgufType::q2_k, "Q2_K", 256, 84},
    {GgufType::q3_k, "Q3_K", 256, 110}, {GgufType::q4_k, "Q4_K", 256, 144}, {GgufType::q5_k, "Q5_K", 256, 176},
    {GgufType::q6_k, "Q6_K", 256, 210},
};
// Types of the format that are not read, so that a message can name them.
constexpr std::pair<uint32_t, const char*> kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
    {21, "IQ3_S"}, {22, "IQ2_S"},  {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},
    {28, "F64"},   {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},   {40, "NVFP4"},
};
}  // namespace

static const TypeRow* find_type(uint32_t number) {
  for (const TypeRow& row : kTypes)
    if (static_cast<uint32_t>(row.type) == number) return &row;
  return nullptr;
}
static const TypeRow& type_row(GgufType type) {
  const TypeRow* row = find_type(static_cast<uint32_t>(type));
  require(row, "GGUF: no type has the number ", static_cast<uint32_t>(type));
  return *row;
}
std::string_view gguf_type_name(GgufType type) { return type_row(type).name; }
int64_t gguf_block_values(GgufType type) { return type_row(type).values; }
int64_t gguf_block_bytes(GgufType type) { return type_row(type).bytes; }

static std::string unsupported_type(uint32_t number) {
  for (const auto& [other, name] : kOtherTypes)
    if (other == number) return cat(name, " (type ", number, ")");
  return cat("of the unknown type ", number);
}

// ---- The header ----

namespace {

// Takes numbers and strings off the front of the file; never past its end.
class Cursor {
 public:
  Cursor(std::string_view bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  std::string_view take(uint64_t count, std::string_view what) {
    require(count <= bytes_.size() - at_, where_, ": truncated: ", what, " needs ", count, " bytes at ", at_, " of ",
            bytes_.size());
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string_view string(std::string_view what) { return take(number<uint64_t>(what), what); }
  std::string name(std::string_view what) {
    const std::string_view text = string(what);
    require(!text.empty() && text.size() <= kMaxNameBytes, where_, ": ", what, " has ", text.size(), " bytes");
    return std::string(text);
  }
  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

 private:
  std::string_view bytes_, where_;
  size_t at_ = 0;
};

// The format's types of values, and their sizes in the file (string and array: the least).
enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };
constexpr uint64_t kValueBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

bool is_real(uint32_t type) { return type == kF32 || type == kF64; }

int64_t read_integer(Cursor& in, uint32_t type, const std::string& at) {
  switch (type) {
    case kU8: return in.number<uint8_t>(at);
    case kI8: return in.number<int8_t>(at);
    case kU16: return in.number<uint16_t>(at);
    case kI16: return in.number<int16_t>(at);
    case kU32: return in.number<uint32_t>(at);
    case kI32: return in.number<int32_t>(at);
    case kI64: return in.number<int64_t>(at);
    case kBool: {
      const uint8_t value = in.number<uint8_t>(at);
      require(value <= 1, at, " is a boolean of ", int{value});
      return value;
    }
    default: {
      const uint64_t value = in.number<uint64_t>(at);
      require(value <= INT64_MAX, at, " is ", value, "; at most 2^63 - 1 is read");
      return static_cast<int64_t>(value);
    }
  }
}
double read_real(Cursor& in, uint32_t type, const std::string& at) {
  return type == kF32 ? in.number<float>(at) : in.number<double>(at);
}

void read_array(Cursor& in, GgufValue& value, uint64_t& items, const std::string& at) {
  const uint32_t type = in.number<uint32_t>(at);
  const uint64_t count = in.number<uint64_t>(at);
  require(type <= kF64 && type != kArray, at, ": an array of ", type == kArray ? "arrays" : cat("the unknown type ", type));
  require(count <= in.left() / kValueBytes[type], at, ": truncated: an array of ", count, " items in the last ",
          in.left(), " bytes of the file");
  require(count <= kMaxItems - items, at, ": more than ", kMaxItems, " items in the arrays of the metadata");
  items += count;
  value.type = type == kString ? GgufValue::Type::strings : is_real(type) ? GgufValue::Type::reals : GgufValue::Type::integers;
  for (uint64_t i = 0; i < count; ++i) {
    if (type == kString) value.strings.push_back(in.string(at));
    else if (is_real(type)) value.reals.push_back(read_real(in, type, at));
    else value.integers.push_back(read_integer(in, type, at));
  }
}

// `items` counts those of all arrays.
GgufValue read_value(Cursor& in, uint64_t& items, const std::string& at) {
  const uint32_t type = in.number<uint32_t>(at);
  require(type <= kF64, at, ": a value of the unknown type ", type);
  GgufValue value;
  if (type == kArray) {
    read_array(in, value, items, at);
  } else if (type == kString) {
    value.type = GgufValue::Type::string;
    value.string = in.string(at);
  } else if (is_real(type)) {
    value.type = GgufValue::Type::real;
    value.real = read_real(in, type, at);
  } else {
    value.type = type == kBool ? GgufValue::Type::boolean : GgufValue::Type::integer;
    value.integer = read_integer(in, type, at);
  }
  return value;
}

struct Placed {
  GgufTensor tensor;
  uint64_t offset = 0, bytes = 0;  // from the start of the data
};

Placed read_tensor(Cursor& in, std::string_view where) {
  Placed placed;
  GgufTensor& tensor = placed.tensor;
  tensor.name = in.name(cat(where, ": a tensor's name"));
  const std::string at = cat(where, ": tensor ", json_string(shown(tensor.name)));
  const uint32_t dimensions = in.number<uint32_t>(at);
  require(dimensions >= 1 && dimensions <= 4, at, " has ", dimensions, " dimensions; 1 to 4 are possible");
  for (uint32_t i = 0; i < dimensions; ++i) {
    const uint64_t size = in.number<uint64_t>(at);
    require(size >= 1 && size <= INT64_MAX, at, " has a dimension of ", size);
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());  // the file has the contiguous one first
  const uint32_t number = in.number<uint32_t>(at);
  const TypeRow* type = find_type(number);
  require(type, at, " is ", unsupported_type(number), ", which is not supported");
  tensor.type = type->type;
  require(tensor.shape.back() % type->values == 0, at, " has rows of ", tensor.shape.back(), " values, and blocks of ",
          type->name, " have ", type->values);
  const int64_t blocks = checked_elements(tensor.shape, at) / type->values;
  placed.bytes = checked_mul(static_cast<size_t>(blocks), static_cast<size_t>(type->bytes), at);
  placed.offset = in.number<uint64_t>(at);
  return placed;
}

}  // namespace

void parse_gguf(std::string_view bytes, std::string_view where, std::vector<GgufTensor>& tensors,
                std::map<std::string, GgufValue, std::less<>>& metadata) {
  tensors.clear();
  metadata.clear();
  require(bytes.starts_with("GGUF"), where, ": not a GGUF file: it does not begin with \"GGUF\"");
  Cursor in(bytes, where);
  in.take(4, "the magic");
  const uint32_t version = in.number<uint32_t>("the version");
  require(version == 2 || version == 3, where, ": GGUF version ", version, version >> 24 && !(version & 0xffff) ? " (big-endian)" : "",
          "; 2 and 3 are read");
  const uint64_t tensor_count = in.number<uint64_t>("the number of tensors"), keys = in.number<uint64_t>("the number of keys");
  require(tensor_count <= kMaxTensors, where, ": ", tensor_count, " tensors are more than ", kMaxTensors);
  require(keys <= kMaxKeys, where, ": ", keys, " keys of metadata are more than ", kMaxKeys);
  uint64_t items = 0;
  for (uint64_t i = 0; i < keys; ++i) {
    std::string key = in.name("a key of the metadata");
    const std::string at = cat(where, ": ", json_string(shown(key)));
    GgufValue value = read_value(in, items, at);
    require(metadata.emplace(std::move(key), std::move(value)).second, at, " stands twice in the metadata");
  }
  uint64_t alignment = 32;
  if (const auto found = metadata.find("general.alignment"); found != metadata.end()) {
    require(found->second.type == GgufValue::Type::integer, where, ": general.alignment is not an integer");
    alignment = static_cast<uint64_t>(found->second.integer);
    require(std::has_single_bit(alignment) && alignment <= (1 << 20), where, ": general.alignment is ", alignment,
            "; it has to be a power of two up to 2^20");
  }

  std::vector<Placed> placed;
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < tensor_count; ++i) placed.push_back(read_tensor(in, where));
  for (const Placed& p : placed)
    require(names.insert(p.tensor.name).second, where, ": ", json_string(shown(p.tensor.name)), " stands twice in the header");
  const uint64_t begin = std::min<uint64_t>(round_up(in.at(), alignment), bytes.size());
  const std::string_view data = bytes.substr(begin);
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (Placed& p : placed) {
    const std::string at = cat(where, ": tensor ", json_string(shown(p.tensor.name)));
    require(p.offset % alignment == 0, at, " begins at ", p.offset, ", which is no multiple of the alignment ", alignment);
    require(p.offset <= data.size() && p.bytes <= data.size() - p.offset, at, " has ", p.bytes, " bytes at ", p.offset,
            ", outside the ", data.size(), " bytes of data (a truncated file?)");
    require(p.offset >= end, at, " overlaps the tensor before");
    end = p.offset + p.bytes;
    p.tensor.data = data.substr(p.offset, p.bytes);
    tensors.push_back(std::move(p.tensor));
  }
}

// ---- Files ----

GgufFile::GgufFile(const std::string& path) : path_(path), file_(path) {
  parse_gguf(file_.bytes(), path, tensors_, metadata_);
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}
const GgufValue* GgufFile::get(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

int64_t GgufFile::integer_or(std::string_view key, int64_t fallback) const {
  const GgufValue* value = get(key);
  if (!value) return fallback;
  require(value->type == GgufValue::Type::integer, path_, ": ", key, " is not an integer");
  return value->integer;
}
double GgufFile::real_or(std::string_view key, double fallback) const {
  const GgufValue* value = get(key);
  if (!value) return fallback;
  require(value->type == GgufValue::Type::real || value->type == GgufValue::Type::integer, path_, ": ", key, " is not a number");
  return value->type == GgufValue::Type::real ? value->real : static_cast<double>(value->integer);
}
bool GgufFile::flag_or(std::string_view key, bool fallback) const {
  const GgufValue* value = get(key);
  if (!value) return fallback;
  require(value->type == GgufValue::Type::boolean, path_, ": ", key, " is not a boolean");
  return value->integer != 0;
}
std::string_view GgufFile::string_or(std::string_view key, std::string_view fallback) const {
  const GgufValue* value = get(key);
  if (!value) return fallback;
  require(value->type == GgufValue::Type::string, path_, ": ", key, " is not a string");
  return value->string;
}

}  // namespace ds
