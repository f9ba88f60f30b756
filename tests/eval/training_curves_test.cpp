#include "eval/training_curves.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace ds {

static TrainingCurves curves_of(const std::string& lines) {
  const std::string path = (std::filesystem::temp_directory_path() / cat("ds-curves-", ::getpid(), ".jsonl")).string();
  std::ofstream(path) << lines;
  const TrainingCurves curves = training_curves(path);
  std::filesystem::remove(path);
  return curves;
}

static size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(TrainingCurves, OneChartForEachThingThatTheLinesHave) {
  const TrainingCurves plain = curves_of(R"({"step": 1, "loss": 4.5})" "\n" R"({"step": 2, "loss": 3.25})" "\n");
  EXPECT_EQ(plain.text, "2 steps; training loss in nats per token, from 4.500 to 3.250.");
  EXPECT_EQ(count(plain.charts, "<svg"), 1u);

  std::string lines;
  for (int step = 1; step <= 1000; ++step)
    lines += cat(R"({"step": )", step, R"(, "loss": )", step == 7 ? "null" : "2.5", R"(, "learning_rate": 0.1, "gradient_norm": 1, "expert_load": [[)",
                 step <= 900 ? "8, 0" : "1, 3", R"(]], "expert_load_max_mean": 1.5)", step % 100 == 1 ? R"(, "eval_loss": 2.75)" : "",
                 step == 7 ? R"(, "skipped": true)" : "", "}\n");
  const TrainingCurves all = curves_of(lines);
  EXPECT_EQ(all.text, "1,000 steps; training loss in nats per token, from 2.500 to 2.500; held out, at the last look, 2.750; 1 step was left out.");
  EXPECT_EQ(count(all.charts, "<svg"), 5u);
  EXPECT_NE(all.charts.find("held out"), std::string::npos);
  // The map is of the last hundred steps: loads of half and one and a half times the mean.
  EXPECT_NE(all.charts.find("0.50"), std::string::npos);
  EXPECT_NE(all.charts.find("1.50"), std::string::npos);
  EXPECT_LT(all.charts.size(), 120000u);
}

TEST(TrainingCurves, OtherLinesAreErrorsWithTheirPlace) {
  EXPECT_THROW(curves_of(""), Error);
  try {
    curves_of("{\"step\": 1, \"loss\": 1}\n{\"text\": \"x\"}\n");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(".jsonl:2: a metrics line has"), std::string::npos) << e.what();
  }
}

}  // namespace ds
