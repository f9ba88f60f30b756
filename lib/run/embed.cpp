#include "run/embed.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {

namespace fs = std::filesystem;

// The way of pooling of a 1_Pooling/config.json: one flag a way, or its name (sentence-transformers 5).
static Pooling::Kind pooling_kind(const std::string& file) {
  const Json json = parse_json_file(file, kMaxConfigBytes);
  std::vector<std::string> ways;
  if (const Json* const mode = json.find("pooling_mode"); mode && mode->type == Json::Type::string) ways.push_back(mode->text);
  for (const auto& [key, value] : json.members)
    if (key.starts_with("pooling_mode_") && value.type == Json::Type::boolean && value.boolean) ways.push_back(key.substr(13));
  require(ways.size() == 1, file, ": expected one way of pooling, found ", ways.size());
  if (ways[0] == "mean_tokens" || ways[0] == "mean") return Pooling::Kind::mean;
  if (ways[0] == "lasttoken") return Pooling::Kind::last;
  if (ways[0] == "cls_token" || ways[0] == "cls") return Pooling::Kind::cls;
  fail(file, ": pooling by ", ways[0], " is not supported: use --pooling mean, last or cls");
}

Pooling read_pooling(const std::string& model) {
  Pooling pooling;
  const fs::path folder = model;
  if (!fs::is_directory(folder)) return pooling;
  if (const fs::path file = folder / "sentence_bert_config.json"; fs::exists(file))
    if (const Json json = parse_json_file(file.string(), kMaxConfigBytes); const Json* const length = json.find("max_seq_length"))
      if (length->type != Json::Type::null) {
        pooling.max_length = length->as_int(file.string() + ": max_seq_length");
        require(pooling.max_length > 0, file.string(), ": max_seq_length is ", pooling.max_length);
      }
  const fs::path list = folder / "modules.json";
  if (!fs::exists(list)) return pooling;
  const Json modules = parse_json_file(list.string(), kMaxConfigBytes);
  require(modules.type == Json::Type::array, list.string(), ": expected an array of modules");
  for (const Json& module : modules.items) {
    const Json *const type = module.find("type"), *const path = module.find("path");
    require(type && type->type == Json::Type::string, list.string(), ": a module without \"type\"");
    const std::string name = type->text.substr(type->text.rfind('.') + 1);
    if (name == "Pooling") {
      require(path && path->type == Json::Type::string, list.string(), ": a module without \"path\"");
      pooling.kind = pooling_kind((folder / path->text / "config.json").string());
    } else if (name == "Normalize") {
      pooling.normalize = true;
    } else if (name != "Transformer") {
      fail(list.string(), ": the module ", type->text, " is not supported; there are Transformer, Pooling and Normalize");
    }
  }
  return pooling;
}

std::vector<int32_t> encode_cut(const Engine& engine, std::string_view text, int64_t max_length, bool& cut) {
  std::vector<int32_t> ids = engine.tokenizer().encode(text);
  const auto length = static_cast<int64_t>(ids.size());
  cut = length > max_length;
  if (cut) {
    // Special tokens stand before and after the text's own, which are cut at their end.
    const std::vector<int32_t> own = engine.tokenizer().encode(text, false);
    const auto surplus = length - max_length;
    const auto at = std::search(ids.begin(), ids.end(), own.begin(), own.end());
    require(at != ids.end() && static_cast<int64_t>(own.size()) >= surplus, "the special tokens alone are more than ", max_length);
    const auto end = at + static_cast<std::ptrdiff_t>(own.size());
    ids.erase(end - surplus, end);
  }
  check_ids(engine.model.config, ids);
  return ids;
}

std::vector<std::vector<float>> embed(Engine& engine, std::span<const std::vector<int32_t>> sequences, const Pooling& pooling,
                                      std::span<const int32_t> adapters) {
  const auto hidden = static_cast<size_t>(engine.model.config.hidden_size);
  std::vector<std::span<const int32_t>> spans;
  for (const auto& tokens : sequences) {
    require(!tokens.empty(), "a text needs at least one token");
    check_ids(engine.model.config, tokens);
    spans.emplace_back(tokens);
  }
  std::vector<std::vector<float>> vectors(sequences.size(), std::vector<float>(hidden));
  std::vector<double> sum(hidden);  // of the sequence under way
  run_sequences(engine, spans, adapters, [&](std::span<const Piece> pieces) {
    const float* const states = engine.activations.final_normed.f32();
    for (const Piece& piece : pieces) {
      const auto length = static_cast<int64_t>(sequences[piece.sequence].size());
      std::vector<float>& out = vectors[piece.sequence];
      const float* const first = states + piece.row * static_cast<int64_t>(hidden);
      const float* const last = first + (piece.end - piece.begin - 1) * static_cast<int64_t>(hidden);
      if (pooling.kind == Pooling::Kind::mean) {
        if (piece.begin == 0) std::fill(sum.begin(), sum.end(), 0.0);
        for (const float* row = first; row <= last; row += hidden)
          for (size_t i = 0; i < hidden; ++i) sum[i] += row[i];
        if (piece.end == length)
          for (size_t i = 0; i < hidden; ++i) out[i] = static_cast<float>(sum[i] / static_cast<double>(length));
      } else if (pooling.kind == Pooling::Kind::cls) {
        if (piece.begin == 0) std::copy(first, first + hidden, out.begin());
      } else if (piece.end == length) {
        std::copy(last, last + hidden, out.begin());
      }
    }
  });
  if (pooling.normalize)
    for (auto& vector : vectors) {
      double square = 0;
      for (const float x : vector) square += static_cast<double>(x) * x;
      const double norm = std::max(std::sqrt(square), 1e-12);
      for (float& x : vector) x = static_cast<float>(x / norm);
    }
  return vectors;
}

}  // namespace ds
