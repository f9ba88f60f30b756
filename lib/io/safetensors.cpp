#include "io/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/sizes.h"
#include "io/json.h"
#include "io/json_scan.h"
#include "io/output.h"

namespace ds {

static_assert(std::endian::native == std::endian::little);

static constexpr uint64_t kMaxHeader = 100'000'000;  // as the format's own library has it
static constexpr size_t kMaxEntry = 64 << 10;        // of one tensor in the header
static constexpr size_t kMaxName = 4096;             // of a tensor
static constexpr size_t kAlignment = 64;

static constexpr std::array<std::pair<std::string_view, DType>, 11> kNames{{
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"I64", DType::i64},
    {"I32", DType::i32},
    {"I16", DType::i16},
    {"I8", DType::i8},
    {"U8", DType::u8},
    {"BOOL", DType::boolean},
    {"F64", DType::f64},
    {"F8_E4M3", DType::f8_e4m3},
}};

DType safetensors_dtype(std::string_view name) {
  for (const auto& [known, type] : kNames)
    if (known == name) return type;
  fail("unknown dtype ", json_string(shown(name)));
}

std::string_view safetensors_dtype_name(DType type) {
  for (const auto& [name, known] : kNames)
    if (known == type) return name;
  fail("safetensors has no dtype for ", dtype_name(type));
}

static size_t stored_bytes(DType dtype, const std::vector<int64_t>& shape, std::string_view what) {
  return checked_mul(static_cast<size_t>(checked_elements(shape, what)), static_cast<size_t>(dtype_bits(dtype) / 8),
                     what);
}

// One entry of the header. Its offsets count from `data`, the bytes after the header.
static StoredTensor parse_entry(std::string name, std::string_view json, std::string_view data,
                                std::string_view where) {
  const std::string at = cat(where, ": tensor ", json_string(shown(name)));
  require(json.size() <= kMaxEntry, at, ": its entry in the header has ", json.size(), " bytes");
  const Json entry = parse_json(json, at);
  const auto member = [&](std::string_view key, Json::Type type) -> const Json& {
    const Json* found = entry.find(key);
    require(found && found->type == type, at, ": no valid ", key);
    return *found;
  };
  StoredTensor tensor{std::move(name), DType::f32, {}, {}};
  try {
    tensor.dtype = safetensors_dtype(member("dtype", Json::Type::string).text);
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with("unknown")) fail(at, ": ", error.what());
    throw;
  }
  for (const Json& n : member("shape", Json::Type::array).items) {
    tensor.shape.push_back(n.as_int(at));
    require(tensor.shape.back() >= 0, at, ": a negative dimension");
  }
  const std::vector<Json>& offsets = member("data_offsets", Json::Type::array).items;
  require(offsets.size() == 2, at, ": data_offsets needs two numbers");
  require(entry.members.size() == 3, at, ": unknown or repeated members");
  const int64_t begin = offsets[0].as_int(at), end = offsets[1].as_int(at);
  require(begin >= 0 && begin <= end && static_cast<uint64_t>(end) <= data.size(), at, ": data_offsets [", begin, ", ",
          end, "] lie outside the ", data.size(), " bytes of data");
  tensor.data = data.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  const size_t expected = stored_bytes(tensor.dtype, tensor.shape, at);
  require(expected == tensor.data.size(), at, ": its shape needs ", expected, " bytes, its data_offsets give ",
          tensor.data.size());
  return tensor;
}

static void parse_metadata(std::string_view json, std::string_view where,
                           std::map<std::string, std::string>& metadata) {
  const Json parsed = parse_json(json, where);
  require(parsed.type == Json::Type::object, where, ": __metadata__ is not an object");
  for (const auto& [key, value] : parsed.members) {
    require(value.type == Json::Type::string, where, ": __metadata__: ", json_string(shown(key)), " is not a string");
    require(metadata.emplace(key, value.text).second, where, ": __metadata__ has ", json_string(shown(key)), " twice");
  }
}

void parse_safetensors(std::string_view bytes, std::string_view where, std::vector<StoredTensor>& tensors,
                       std::map<std::string, std::string>& metadata) {
  tensors.clear();
  metadata.clear();
  require(bytes.size() >= 8, where, ": not a safetensors file: it has ", bytes.size(), " bytes");
  uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), 8);
  require(header_size <= kMaxHeader, where, ": not a safetensors file: a header of ", header_size, " bytes (at most ",
          kMaxHeader, ")");
  require(header_size <= bytes.size() - 8, where, ": truncated: a header of ", header_size, " bytes in a file of ",
          bytes.size());
  const std::string_view header = bytes.substr(8, header_size), data = bytes.substr(8 + header_size);
  require(header.starts_with('{'), where, ": not a safetensors file: the header does not begin with '{'");
  require(valid_utf8(header), where, ": the header is not valid UTF-8");
  std::set<std::string> names;
  try {
    JsonScanner scan(header);
    walk_object(scan, 0, [&](const JsonText& key, size_t begin, size_t end) {
      const std::string_view value = header.substr(begin, end - begin);
      std::string name = key.unescaped();
      require(name.size() <= kMaxName, where, ": tensor ", json_string(shown(name)), ": its name has ", name.size(), " bytes (at most ", kMaxName, ")");
      require(names.insert(name).second, where, ": ", json_string(shown(name)), " stands twice in the header");
      if (name == "__metadata__")
        parse_metadata(value, where, metadata);
      else
        tensors.push_back(parse_entry(std::move(name), value, data, where));
    });
    scan.expect_end();
  } catch (const JsonFault& fault) {
    throw Error(describe(fault, header, cat(where, ": header")));
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  const char* at = data.data();
  for (const StoredTensor& tensor : tensors) {
    require(tensor.data.data() == at, where, ": the data of ", json_string(shown(tensor.name)),
            tensor.data.data() < at ? " overlap those of the tensor before" : " leave a hole before them");
    at += tensor.data.size();
  }
  require(at == data.data() + data.size(), where, ": ", data.data() + data.size() - at, " bytes after the last tensor");
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  parse_safetensors(file_.bytes(), path, tensors_, metadata_);
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::vector<std::pair<std::string, std::string>> parse_safetensors_index(std::string_view json, std::string_view where) {
  const Json parsed = parse_json(json, where);
  const Json* map = parsed.find("weight_map");
  require(map && map->type == Json::Type::object && !map->members.empty(), where, ": no weight_map");
  std::vector<std::pair<std::string, std::string>> shards;
  for (const auto& [name, shard] : map->members) {
    const std::string& file = shard.as_string(cat(where, ": ", json_string(shown(name))));
    require(!file.empty() && file.find('/') == std::string::npos && file.find('\0') == std::string::npos && file != "." && file != "..",
            where, ": ", json_string(shown(file)), " is not the name of a file in this folder");
    shards.emplace_back(name, file);
  }
  return shards;
}

SafetensorsFolder::SafetensorsFolder(const std::string& folder) {
  const std::string single = folder + "/model.safetensors", index = single + ".index.json";
  struct stat found;
  if (stat(single.c_str(), &found) == 0) {
    files_.push_back(std::make_unique<SafetensorsFile>(single));
    return;
  }
  require(stat(index.c_str(), &found) == 0, folder, ": no model.safetensors and no model.safetensors.index.json in it");
  std::map<std::string, SafetensorsFile*> shards;
  for (const auto& [name, file] : parse_safetensors_index(read_regular_file(index, kMaxTokenizerBytes), index)) {
    SafetensorsFile*& opened = shards[file];
    if (!opened) {
      files_.push_back(std::make_unique<SafetensorsFile>(folder + "/" + file));
      opened = files_.back().get();
    }
    require(opened->find(name) != nullptr, folder, "/", file, ": ", json_string(shown(name)), " is missing, which ", index,
            " promises");
  }
  std::set<std::string_view> names;
  for (const auto& file : files_)
    for (const StoredTensor& tensor : file->tensors())
      require(names.insert(tensor.name).second, folder, ": ", json_string(shown(tensor.name)), " stands in two shards");
}

const StoredTensor* SafetensorsFolder::find(std::string_view name) const {
  for (const auto& file : files_)
    if (const StoredTensor* found = file->find(name)) return found;
  return nullptr;
}

std::vector<std::string> SafetensorsFolder::names() const {
  std::vector<std::string> names;
  for (const auto& file : files_)
    for (const StoredTensor& tensor : file->tensors()) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  return names;
}

std::map<std::string, std::string> SafetensorsFolder::metadata() const { return files_.front()->metadata(); }

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata, bool durable) {
  JsonWriter header;
  header.open('{').open('{', "__metadata__");
  if (!metadata.contains("format")) header.field("format", "pt");
  for (const auto& [key, value] : metadata) header.field(key, value);
  header.close();
  size_t offset = 0;
  std::set<std::string_view> names{"__metadata__"};
  for (const TensorToWrite& tensor : tensors) {
    require(names.insert(tensor.name).second, path, ": two tensors named ", json_string(shown(tensor.name)));
    const size_t end = checked_add(offset, stored_bytes(tensor.dtype, tensor.shape, tensor.name), tensor.name);
    header.open('{', tensor.name).field("dtype", safetensors_dtype_name(tensor.dtype)).open('[', "shape");
    for (const int64_t n : tensor.shape) header.value(n);
    header.close().open('[', "data_offsets").value(uint64_t{offset}).value(uint64_t{end}).close().close();
    offset = end;
  }
  header.close();
  header.text.resize(round_up(header.text.size() + 8, kAlignment) - 8, ' ');
  const uint64_t header_size = header.text.size();
  require(header_size <= kMaxHeader, path, ": a header of ", header_size, " bytes (at most ", kMaxHeader, ")");

  OutputFile out(path, durable);
  out.write({reinterpret_cast<const char*>(&header_size), sizeof header_size});
  out.write(header.text);
  for (const TensorToWrite& tensor : tensors) {
    const std::string_view data = tensor.data();
    const size_t expected = stored_bytes(tensor.dtype, tensor.shape, tensor.name);
    require(data.size() == expected, path, ": ", json_string(shown(tensor.name)), " needs ", expected, " bytes, got ",
            data.size());
    out.write(data);
  }
  out.commit();
}

}  // namespace ds
