#include "augment/augment.h"

#include <algorithm>
#include <cmath>

#include "augment/embedding.h"
#include "augment/neighbors.h"
#include "augment/paraphrase.h"
#include "augment/records.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/output.h"
#include "io/report.h"

namespace ds {
namespace {

// Six decimals are more than the 32-bit coordinates justify, and keep the lines short.
double rounded(double x) { return std::round(x * 1e6) / 1e6; }

size_t in_range(int64_t value, int64_t low, int64_t high, const char* option) {
  if (value < low || value > high) throw UsageError(cat(option, " must be ", low, " to ", high, ", not ", value));
  return static_cast<size_t>(value);
}
void check_share(double value, const char* option) {
  if (!(value >= 0 && value <= 1)) throw UsageError(cat(option, " must be 0 to 1, not ", value));
}

Embeddings embed_all(const AugmentOptions& options, const LoadedRecords& loaded, Report& report) {
  const size_t dimension = in_range(options.dimension, 8, 4096, "--dimension");
  const auto stage = report.stage("embed");
  return embed_texts(loaded.views(), dimension, options.seed);
}

std::vector<std::vector<Neighbor>> find_neighbors(const AugmentOptions& options, const Embeddings& embeddings,
                                                  Report& report) {
  const size_t count = in_range(options.neighbors, 1, 1000, "--neighbors");
  const auto stage = report.stage("neighbors");
  return nearest_neighbors(embeddings, count);
}

// The paraphrase of record `other` for record `self`; its random stream is that of the two ids.
std::string paraphrase_for(const AugmentOptions& options, const LoadedRecords& loaded, size_t self, size_t other) {
  const uint64_t stream = hash64(cat(id_hash(loaded.records[self], options), ' ', id_hash(loaded.records[other], options)));
  return paraphrase(loaded.texts[other], sentences(loaded.texts[self]), options.keep, options.seed, stream);
}

// Appends to one record what its neighbours add; whether there was anything.
bool expand_record(const AugmentOptions& options, const LoadedRecords& loaded, const std::vector<Neighbor>& list,
                   size_t self, Record& record) {
  std::string text = loaded.texts[self];
  JsonWriter ids, cosines;
  ids.open('[');
  cosines.open('[');
  int64_t used = 0;
  for (const Neighbor& neighbor : list) {
    if (neighbor.cosine <= options.threshold || used == options.max_neighbors) break;
    const std::string added = paraphrase_for(options, loaded, self, neighbor.index);
    if (added.empty()) continue;  // the neighbour says nothing that the record does not say
    text += (text.ends_with('\n') ? "\n" : "\n\n") + added;
    ids.raw(id_json(loaded.records[neighbor.index], options.id_field));
    cosines.value(rounded(neighbor.cosine));
    ++used;
  }
  if (!used) return false;
  record.set(options.text_field, json_string(text));
  set_augment(record, "expanded_with", ids.close().text);
  set_augment(record, "cosine", cosines.close().text);
  return true;
}

}  // namespace

void embed(const AugmentOptions& options, Report& report) {
  LoadedRecords loaded = load_records(options, report);
  const Embeddings embeddings = embed_all(options, loaded, report);
  parallel_for(loaded.records.size(), 64, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      JsonWriter json;
      json.open('[');
      for (size_t j = 0; j < embeddings.dimension; ++j) json.value(embeddings.row(i)[j]);
      set_augment(loaded.records[i], "embedding", json.close().text);
    }
  });
  write_records(options, loaded.records, report);
}

void neighbors(const AugmentOptions& options, Report& report) {
  LoadedRecords loaded = load_records(options, report);
  const auto lists = find_neighbors(options, embed_all(options, loaded, report), report);
  for (size_t i = 0; i < lists.size(); ++i) {
    JsonWriter json;
    json.open('[');
    for (const Neighbor& neighbor : lists[i]) {
      json.open('{').key("id").raw(id_json(loaded.records[neighbor.index], options.id_field));
      json.field("cosine", rounded(neighbor.cosine)).close();
    }
    set_augment(loaded.records[i], "neighbors", json.close().text);
  }
  write_records(options, loaded.records, report);
}

void expand(const AugmentOptions& options, Report& report) {
  check_share(options.threshold, "--threshold");
  check_share(options.keep, "--keep");
  in_range(options.max_neighbors, 1, 1000, "--max-neighbors");
  LoadedRecords loaded = load_records(options, report);
  const auto lists = find_neighbors(options, embed_all(options, loaded, report), report);
  std::vector<Record> out = loaded.records;  // ids and texts of the originals are asked for by others
  std::vector<uint8_t> expanded(out.size());
  parallel_for(out.size(), 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) expanded[i] = expand_record(options, loaded, lists[i], i, out[i]);
  });
  write_records(options, out, report);
  const auto above = std::count_if(lists.begin(), lists.end(), [&](const auto& list) {
    return !list.empty() && list[0].cosine > options.threshold;
  });
  report.results.emplace_back("expand", JsonWriter().open('{').field("with_neighbors", static_cast<int64_t>(above))
                                            .field("expanded", static_cast<int64_t>(std::count(expanded.begin(), expanded.end(), 1)))
                                            .close().text);
}

void split(const AugmentOptions& options, Report& report) {
  check_share(options.held_out, "--held-out");
  if (options.held_out_file.empty() || options.held_out_file == options.output)
    throw UsageError("--held-out-file must name a file of its own");
  const auto stage = report.stage("split");
  OutputFile rest(options.output), held(options.held_out_file);
  uint64_t counts[2] = {0, 0};
  for_each_record(options.inputs, options.max_record_bytes, &report, [&](Record&& record) {
    // The 53 high bits as a number in [0, 1).
    const bool out = static_cast<double>(id_hash(record, options) >> 11) * 0x1p-53 < options.held_out;
    OutputFile& file = out ? held : rest;
    file.write(record.raw());
    file.write("\n");
    ++counts[out];
  });
  held.commit();
  rest.commit();
  report.kept = counts[0] + counts[1];
  report.outputs.push_back({rest.path(), rest.bytes(), counts[0], rest.hash()});
  report.outputs.push_back({held.path(), held.bytes(), counts[1], held.hash()});
  report.results.emplace_back("split", cat("{\"training\": ", counts[0], ", \"held_out\": ", counts[1], "}"));
}

}  // namespace ds
