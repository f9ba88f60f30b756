#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "io/input.h"
#include "io/json.h"

namespace ds {

std::string metrics_line(int64_t step, const StepResult& result, double learning_rate, double tokens_per_second,
                         double seconds_waiting, std::optional<double> eval_loss) {
  JsonWriter w;
  w.open('{').field("step", step).field("loss", result.loss).field("learning_rate", learning_rate);
  w.field("gradient_norm", result.gradient_norm).field("tokens", result.tokens);
  w.field("tokens_per_second", tokens_per_second).field("seconds_waiting", seconds_waiting);
  if (eval_loss) w.field("eval_loss", *eval_loss);
  if (result.loss_scale != 1) w.field("loss_scale", result.loss_scale);
  if (result.skipped) w.field("skipped", true);
  if (!result.expert_load.empty()) {
    double worst = 0;
    int64_t used = 0, experts = 0, choices = 0;
    w.open('[', "expert_load");
    for (const auto& load : result.expert_load) {
      w.open('[');
      for (const int64_t count : load) w.value(count);
      w.close();
      const auto total = std::accumulate(load.begin(), load.end(), int64_t{0});
      const auto most = *std::max_element(load.begin(), load.end()) * static_cast<int64_t>(load.size());
      worst = std::max(worst, static_cast<double>(most) / static_cast<double>(std::max<int64_t>(1, total)));
      const auto each = static_cast<int64_t>(load.size());
      used += std::count_if(load.begin(), load.end(), [&](int64_t count) { return 2 * count * each > total; });
      experts += each;
      choices += total;
    }
    w.close();
    w.field("expert_load_max_mean", worst).field("aux_loss", result.aux_loss);
    const double seen = static_cast<double>(result.tokens) * static_cast<double>(result.expert_load.size());
    w.field("expert_utilisation", static_cast<double>(used) / static_cast<double>(experts));
    w.field("experts_per_token", static_cast<double>(choices) / seen).field("router_entropy", result.router_entropy);
    w.field("fallback_share", static_cast<double>(result.fallback_load) / seen).field("dropped_tokens", 0);
  }
  w.close();
  return w.text;
}

static void check(bool ok, const std::string& path) {
  require(ok, path, ": ", std::strerror(errno));
}

MetricsFile::MetricsFile(const std::string& path, int64_t steps) : path_(path) {
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check(file_ >= 0, path);
  cut(steps);
}

void MetricsFile::cut(int64_t steps) {
  size_t keep = 0;
  if (steps > 0) {
    const std::string text = read_file(path_);
    for (int64_t line = 0; line < steps; ++line) {
      const size_t end = text.find('\n', keep);
      require(end != std::string::npos, path_, ": has ", line, " lines, but the checkpoint is of step ", steps);
      keep = end + 1;
    }
  }
  check(::ftruncate(file_, static_cast<off_t>(keep)) == 0 && ::lseek(file_, 0, SEEK_END) >= 0, path_);
}

std::vector<double> MetricsFile::losses(size_t most) const {
  const std::string text = read_file(path_);
  std::vector<double> losses;
  for (size_t end = text.size(); end > 0 && losses.size() < most;) {
    const size_t newline = end >= 2 ? text.rfind('\n', end - 2) : std::string::npos;
    const size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const Json line = parse_json(std::string_view(text).substr(begin, end - begin), path_);
    const Json* loss = line.find("loss");
    require(loss != nullptr, path_, ": a line without \"loss\"");
    if (!line.find("skipped")) losses.push_back(loss->as_double(path_));
    end = begin;
  }
  std::reverse(losses.begin(), losses.end());
  return losses;
}

MetricsFile::~MetricsFile() {
  if (file_ >= 0) ::close(file_);
}

void MetricsFile::append(const std::string& line) {
  const std::string bytes = line + "\n";
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, path_);
    done += static_cast<size_t>(n);
  }
}

void MetricsFile::sync() { check(::fsync(file_) == 0, path_); }

}  // namespace ds
