#include "text/fasttext_file.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace ds {
namespace {

constexpr int32_t magic = 793712314;

// Takes values off the front of the file's bytes.
struct Cursor {
  std::string_view rest;
  const std::string& name;

  std::string_view bytes(uint64_t count, const char* what) {
    require(count <= rest.size(), name, ": is cut off in ", what, ": ", count, " bytes expected, ", rest.size(),
            " are left");
    const std::string_view taken = rest.substr(0, count);
    rest.remove_prefix(count);
    return taken;
  }
  const unsigned char* codes(int64_t count, const char* what) {
    return reinterpret_cast<const unsigned char*>(bytes(static_cast<uint64_t>(count), what).data());
  }
  template <class T>
  T get(const char* what) {
    T value;
    std::memcpy(&value, bytes(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  // A number that must lie in [low, high].
  template <class T>
  T number(const char* what, T low, T high) {
    const T value = get<T>(what);
    require(value >= low && value <= high, name, ": ", what, " is ", +value, ", expected ", +low, " to ", +high);
    return value;
  }
  bool flag(const char* what) { return number<int8_t>(what, 0, 1) != 0; }
};

double float_at(const char* data, int64_t index) {
  float value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(float)), sizeof(float));
  return static_cast<double>(value);
}

void read_quantizer(Cursor& in, ProductQuantizer& quantizer, int32_t dim) {
  quantizer.dim = in.number<int32_t>("the quantizer's dimension", dim, dim);
  quantizer.parts = in.number<int32_t>("the quantizer's parts", 1, dim);
  quantizer.width = in.number<int32_t>("the quantizer's width", 1, 1 << 16);
  quantizer.last_width = in.number<int32_t>("the quantizer's last width", 1, quantizer.width);
  require(int64_t{quantizer.parts - 1} * quantizer.width + quantizer.last_width == dim, in.name, ": ", quantizer.parts,
          " parts of ", quantizer.width, " and at last ", quantizer.last_width, " do not make ", dim, " dimensions");
  const uint64_t floats = uint64_t{ProductQuantizer::centroids} * static_cast<uint64_t>(dim);
  quantizer.values = in.bytes(floats * sizeof(float), "the centroids").data();
}

void read_matrix(Cursor& in, FastTextMatrix& matrix, bool quantized, int32_t dim, const char* what) {
  const bool with_norms = quantized && in.flag("the flag of quantized norms");
  matrix.rows = in.number<int64_t>("the rows of a matrix", 0, INT32_MAX);
  matrix.columns = static_cast<int32_t>(in.number<int64_t>("the columns of a matrix", dim, dim));
  if (!quantized) {
    const auto floats = static_cast<uint64_t>(matrix.rows) * static_cast<uint64_t>(dim);
    matrix.dense = in.bytes(floats * sizeof(float), what).data();
    return;
  }
  const auto code_bytes = in.number<int32_t>("the bytes of a matrix", 0, INT32_MAX);
  matrix.codes = in.codes(code_bytes, what);
  read_quantizer(in, matrix.quantizer, dim);
  require(code_bytes == matrix.rows * matrix.quantizer.parts, in.name, ": ", what, " has ", code_bytes,
          " codes, expected ", matrix.rows, " rows of ", matrix.quantizer.parts);
  if (!with_norms) return;
  matrix.norm_codes = in.codes(matrix.rows, "the norms");
  read_quantizer(in, matrix.norms, 1);
}

void read_entries(Cursor& in, FastTextDictionary& dictionary, int32_t size) {
  size_t slots = 16;
  while (slots < static_cast<size_t>(size) * 2) slots *= 2;
  dictionary.table.assign(slots, -1);
  dictionary.entries.reserve(static_cast<size_t>(size));
  int64_t total = 0;
  for (int32_t i = 0; i < size; ++i) {
    const size_t end = in.rest.find('\0');
    require(end != std::string_view::npos, in.name, ": is cut off in the dictionary, entry ", i);
    const std::string_view word = in.rest.substr(0, end);
    in.rest.remove_prefix(end + 1);
    const auto count = in.number<int64_t>("the count of an entry", 0, int64_t{1} << 40);
    const bool label = i >= dictionary.words;
    in.number<int8_t>("the type of an entry", label, label);
    if (label) {
      require(is_valid_utf8(word), in.name, ": label ", i - dictionary.words, " is not UTF-8");
      dictionary.label_counts.push_back(count);
      total += count;
      require(total < int64_t{1} << 50, in.name, ": the counts of the labels are too large");
    }
    size_t slot = dictionary.home(fasttext_hash(word));
    while (dictionary.table[slot] >= 0) slot = (slot + 1) & (slots - 1);
    dictionary.table[slot] = i;
    dictionary.entries.push_back(word);
  }
}

void read_dictionary(Cursor& in, FastTextDictionary& dictionary, int32_t buckets) {
  dictionary.bucket = static_cast<uint32_t>(buckets);
  const auto size = in.number<int32_t>("the number of entries", 1, INT32_MAX);
  dictionary.words = in.number<int32_t>("the number of words", 0, size);
  const auto labels = in.number<int32_t>("the number of labels", 1, size);
  require(int64_t{dictionary.words} + labels == size, in.name, ": ", dictionary.words, " words and ", labels,
          " labels are not ", size, " entries");
  in.get<int64_t>("the number of tokens");
  const auto kept = in.number<int64_t>("the number of kept n-grams", -1, buckets);
  // An entry takes at least 10 bytes, a kept n-gram 8: a wrong count ends here, not in an allocation.
  const uint64_t least = static_cast<uint64_t>(size) * 10 + static_cast<uint64_t>(std::max<int64_t>(kept, 0)) * 8;
  require(least <= in.rest.size(), in.name, ": is cut off in the dictionary: at least ", least, " bytes expected, ",
          in.rest.size(), " are left");
  read_entries(in, dictionary, size);
  dictionary.pruned = kept >= 0;
  for (int64_t i = 0; i < kept; ++i) {
    const auto ngram = in.number<int32_t>("a kept n-gram", 0, buckets - 1);
    const auto row = in.number<int32_t>("a kept n-gram's row", 0, static_cast<int32_t>(kept - 1));
    dictionary.row_of[static_cast<uint64_t>(ngram)] = row;
  }
}

// Everything before the dictionary; returns the number of buckets.
int32_t read_header(Cursor& in, FastTextFile& file) {
  require(in.rest.size() >= 4 && in.get<int32_t>("the head") == magic, in.name, ": is not a fastText model");
  const auto version = in.number<int32_t>("the file version", 11, 12);
  file.dim = in.number<int32_t>("the dimension", 1, 1 << 16);
  for (const char* what : {"the window", "the epochs", "the least count", "the negatives"}) in.get<int32_t>(what);
  file.word_ngrams = in.number<int32_t>("the word n-grams", 0, 64);
  file.loss = static_cast<FastTextFile::Loss>(in.number<int32_t>("the loss", 1, 4));
  const auto kind = in.number<int32_t>("the kind of model", 1, 3);
  require(kind == 3, in.name, ": is a model of word vectors, expected a classifier (fastText supervised)");
  const auto buckets = in.number<int32_t>("the buckets", 0, INT32_MAX);
  file.min_characters = in.number<int32_t>("the least characters of an n-gram", 0, 64);
  file.max_characters = in.number<int32_t>("the most characters of an n-gram", 0, 64);
  in.get<int32_t>("the update rate");
  in.get<double>("the sampling threshold");
  if (version == 11) file.max_characters = 0;  // classifiers of that time used no characters, whatever the file says
  const bool ngrams = file.word_ngrams > 1 || file.max_characters > 0;
  require(buckets > 0 || !ngrams, in.name, ": has n-grams, but no buckets for them");
  return buckets;
}

void check_rows(const FastTextFile& file, const std::string& name) {
  const FastTextDictionary& dictionary = file.dictionary;
  int64_t needed = dictionary.words;
  if (dictionary.pruned) {
    dictionary.row_of.for_each(
        [&](uint64_t, int32_t row) { needed = std::max(needed, int64_t{dictionary.words} + row + 1); });
  } else if (file.word_ngrams > 1 || file.max_characters > 0) {
    needed += dictionary.bucket;
  }
  require(file.input.rows >= needed, name, ": the input matrix has ", file.input.rows, " rows, expected ", needed);
  const auto labels = static_cast<int64_t>(dictionary.label_counts.size());
  require(file.output.rows == labels, name, ": the output matrix has ", file.output.rows, " rows, expected ", labels);
}

// Calls visit(factor, centroid, begin, width) for each part of a quantized row.
template <class Visit>
void for_each_part(const FastTextMatrix& matrix, int64_t row, Visit&& visit) {
  const double norm = matrix.norm_codes ? float_at(matrix.norms.centroid(0, matrix.norm_codes[row]), 0) : 1;
  const ProductQuantizer& quantizer = matrix.quantizer;
  const unsigned char* code = matrix.codes + row * quantizer.parts;
  for (int32_t part = 0; part < quantizer.parts; ++part)
    visit(norm, quantizer.centroid(part, code[part]), part * quantizer.width, quantizer.width_of(part));
}

}  // namespace

void FastTextMatrix::add_row(int64_t row, double* sum) const {
  if (dense) {
    const char* values = dense + row * columns * static_cast<int64_t>(sizeof(float));
    for (int32_t j = 0; j < columns; ++j) sum[j] += float_at(values, j);
    return;
  }
  for_each_part(*this, row, [&](double norm, const char* part, int32_t begin, int32_t width) {
    for (int32_t j = 0; j < width; ++j) sum[begin + j] += norm * float_at(part, j);
  });
}

double FastTextMatrix::dot(int64_t row, const double* vector) const {
  double sum = 0;
  if (dense) {
    const char* values = dense + row * columns * static_cast<int64_t>(sizeof(float));
    for (int32_t j = 0; j < columns; ++j) sum += vector[j] * float_at(values, j);
    return sum;
  }
  for_each_part(*this, row, [&](double norm, const char* part, int32_t begin, int32_t width) {
    for (int32_t j = 0; j < width; ++j) sum += vector[begin + j] * (norm * float_at(part, j));
  });
  return sum;
}

int32_t FastTextDictionary::find(std::string_view word, uint32_t hash) const {
  for (size_t slot = home(hash); table[slot] >= 0; slot = (slot + 1) & (table.size() - 1))
    if (entries[static_cast<size_t>(table[slot])] == word) return table[slot];
  return -1;
}

FastTextFile read_fasttext(std::string_view bytes, const std::string& name) {
  Cursor in{bytes, name};
  FastTextFile file;
  const int32_t buckets = read_header(in, file);
  read_dictionary(in, file.dictionary, buckets);
  const bool quantized = in.flag("the flag of a quantized input matrix");
  require(quantized || !file.dictionary.pruned, name, ": has a pruned dictionary without a quantized matrix");
  read_matrix(in, file.input, quantized, file.dim, "the input matrix");
  const bool quantized_output = in.flag("the flag of a quantized output matrix") && quantized;
  read_matrix(in, file.output, quantized_output, file.dim, "the output matrix");
  check_rows(file, name);
  file.note = in.rest;
  return file;
}

}  // namespace ds
