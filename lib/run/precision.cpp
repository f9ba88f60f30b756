#include "run/precision.h"

#include <filesystem>

#include "base/error.h"

namespace ds {

namespace fs = std::filesystem;

std::string precision_folder(const std::string& model, const std::string& level) {
  const fs::path folder(model);
  const auto is_model = [](const fs::path& path) { return fs::exists(path / "config.json"); };
  std::string levels;
  for (const char* const one : {"high", "medium", "low"})
    if (is_model(folder / one)) {
      if (level == one) return (folder / one).string();
      levels += cat(levels.empty() ? "" : ", ", one);
    }
  if (level.empty()) {
    if (levels.empty() || is_model(folder)) return model;
    if (is_model(folder / "high")) return (folder / "high").string();
    fail(model, ": the model has no config.json, but levels of precision: choose with --precision (", levels, ")");
  }
  require(fs::is_directory(folder), model, ": --precision ", level, " chooses a folder inside a model folder, and this is none");
  fail(model, ": the model has no level of precision ", level, " (a folder ", level, "/ with a config.json); it has ",
       levels.empty() ? "none" : levels);
}

}  // namespace ds
