#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "io/input.h"
#include "io/json.h"
#include "io/output.h"
#include "io/safetensors.h"

namespace ds {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kTemporary = ".tmp-step-";

void save_checkpoint(const std::string& folder, TrainState& state, const std::map<std::string, std::string>& metadata) {
  const std::string temporary = cat(folder, "/", kTemporary, state.step);
  fs::remove_all(temporary);
  fs::create_directories(temporary);
  save_model(state.model.config, state.masters, temporary, DType::f32, metadata, true);
  std::vector<TensorToWrite> tensors;
  for (const Parameter& p : state.parameters) {
    for (const auto& [name, t] : states_of(p)) {
      const std::string_view bytes(t.as<char>(), static_cast<size_t>(t.elements() * dtype_bits(t.dtype) / 8));
      tensors.push_back({name, t.dtype, {t.shape.begin(), t.shape.begin() + t.rank}, [bytes] { return bytes; }});
    }
  }
  write_safetensors(temporary + "/optimizer.safetensors", tensors, {}, true);
  JsonWriter w(2);
  w.open('{').field("step", state.step).field("tokens", state.tokens);
  w.field("loss_scale", state.loss_scale.scale).field("clean_steps", state.loss_scale.clean_steps);
  w.field("skipped_steps", state.loss_scale.skipped).close();
  write_file(temporary + "/data_position.json", state.data + "\n", true);
  write_file(temporary + "/trainer_state.json", w.text + "\n", true);
  publish_folder(temporary, cat(folder, "/", kPrefix, state.step));
}

// Steps of the complete checkpoints below a folder, ascending.
static std::vector<int64_t> checkpoint_steps(const std::string& folder) {
  std::vector<int64_t> steps;
  if (!fs::is_directory(folder)) return steps;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    if (!name.starts_with(kPrefix)) continue;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
    if (error == std::errc() && rest == end && step > 0 && fs::exists(entry.path() / "trainer_state.json")) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string newest_checkpoint(const std::string& folder, int64_t every) {
  auto steps = checkpoint_steps(folder);
  std::erase_if(steps, [&](int64_t step) { return step % every != 0; });
  return steps.empty() ? "" : cat(folder, "/", kPrefix, steps.back());
}

std::string stored_position(const std::string& checkpoint) {
  std::string json = read_regular_file(checkpoint + "/data_position.json", kMaxConfigBytes);
  while (json.ends_with('\n')) json.pop_back();
  return json;
}

TrainState load_checkpoint(const std::string& checkpoint, const StateOptions& options) {
  TrainState state = make_state(load_model(checkpoint), options);
  const std::string path = checkpoint + "/optimizer.safetensors";
  const SafetensorsFile file(path);
  for (const Parameter& p : state.parameters) {
    for (const auto& [name, t] : states_of(p)) {
      const StoredTensor* stored = file.find(name);
      require(stored != nullptr, path, ": has no tensor ", name);
      require(stored->dtype == t.dtype && std::equal(stored->shape.begin(), stored->shape.end(), t.shape.begin(), t.shape.begin() + t.rank),
              path, ": ", name, " is not ", describe(t));
      std::memcpy(t.data, stored->data.data(), stored->data.size());
    }
  }
  const std::string where = checkpoint + "/trainer_state.json";
  const Json json = parse_json_file(where);
  const auto number = [&](const char* key) {
    const Json* value = json.find(key);
    require(value != nullptr, where, ": has no \"", key, "\"");
    const int64_t n = value->as_int(where);
    require(n >= 0, where, ": ", key, " is negative");
    return n;
  };
  state.step = number("step");
  state.tokens = static_cast<uint64_t>(number("tokens"));
  state.loss_scale.skipped = number("skipped_steps");
  state.loss_scale.clean_steps = number("clean_steps");
  const Json* scale = json.find("loss_scale");
  require(scale != nullptr, where, ": has no \"loss_scale\"");
  state.loss_scale.scale = scale->as_double(where);
  state.data = stored_position(checkpoint);
  return state;
}

// Renamed first, so that a kill half-way does not leave a part of it under a checkpoint's name.
static void remove_checkpoint(const std::string& folder, int64_t step) {
  const std::string doomed = cat(folder, "/", kTemporary, step);
  fs::remove_all(doomed);
  fs::rename(cat(folder, "/", kPrefix, step), doomed);
  fs::remove_all(doomed);
}

void prune_checkpoints(const std::string& folder, size_t keep, int64_t every) {
  if (!fs::is_directory(folder)) return;
  std::vector<fs::path> left_behind;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(kTemporary)) left_behind.push_back(entry.path());
  }
  for (const auto& path : left_behind) fs::remove_all(path);
  auto steps = checkpoint_steps(folder);
  for (size_t kept = 0; !steps.empty(); steps.pop_back()) {
    if (every > 0 && steps.back() % every == 0 && kept < keep) ++kept;
    else remove_checkpoint(folder, steps.back());
  }
}

}  // namespace ds
