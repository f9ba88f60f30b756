#include "text/classifier_trainer.h"

#include <fasttext/fasttext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "base/stop.h"
#include "io/input.h"
#include "text/classifier.h"
#include "text/fasttext_file.h"
#include "text/units.h"

namespace ds {
namespace {

// A file without a name: the library takes the path, and the file is gone with the process at the latest.
class NamelessFile {
 public:
  NamelessFile() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "ds-learn-XXXXXX").string();
    require(!error, "TMPDIR: ", error.message());
    fd_ = mkstemp(name.data());
    require(fd_ >= 0, name, ": cannot create it: ", std::strerror(errno));
    unlink(name.c_str());
  }
  ~NamelessFile() { close(fd_); }
  NamelessFile(const NamelessFile&) = delete;
  std::string path() const { return cat("/proc/self/fd/", fd_); }

 private:
  int fd_ = -1;
};

void write_texts(const std::string& path, std::vector<LabelledText> texts, const std::vector<std::string>& labels,
                 uint32_t seed) {
  const Rng rng{seed, 0};
  for (size_t i = texts.size(); i > 1; --i) std::swap(texts[i - 1], texts[rng.below(i, i)]);
  std::ofstream out(path, std::ios::binary);
  for (const LabelledText& text : texts) out << "__label__" << labels[text.label] << ' ' << text.text << '\n';
  out.close();
  require(out.good(), "cannot write the training texts to a temporary file: is the folder of TMPDIR full?");
}

fasttext::Args arguments(const ClassifierTraining& training, const std::string& input) {
  fasttext::Args args;
  args.model = fasttext::model_name::sup;
  args.loss = fasttext::loss_name::softmax;
  args.input = input;
  args.epoch = training.epochs;
  args.lr = training.learning_rate;
  args.dim = training.dim;
  args.wordNgrams = training.word_ngrams;
  args.minCount = training.min_count;
  args.minn = training.min_characters;
  args.maxn = training.max_characters;
  args.bucket = training.word_ngrams > 1 || training.max_characters > 0 ? training.buckets : 0;
  args.seed = static_cast<int>(training.seed);
  args.thread = 1;
  args.verbose = 0;
  return args;
}

}  // namespace

std::string prepare_text(std::string_view text) {
  std::string prepared;
  UnitReader reader(text);
  for (std::string_view unit; reader.next(unit);) {
    if (unit.starts_with("__label__")) continue;
    if (!prepared.empty()) prepared += ' ';
    prepared += unit;
  }
  return prepared;
}

std::string train_classifier(std::vector<LabelledText> texts, const std::vector<std::string>& labels,
                             std::string_view positive, const ClassifierTraining& training) {
  const NamelessFile input, model;
  const auto shown = static_cast<uint64_t>(texts.size()) * static_cast<uint64_t>(training.epochs);
  write_texts(input.path(), std::move(texts), labels, training.seed);
  fasttext::FastText learner;
  const auto watch = [&](float done, float, double, double, int64_t) {
    progress(
        {"learn", "texts", static_cast<uint64_t>(static_cast<double>(done) * static_cast<double>(shown)), shown, ""});
    if (stop_requested()) learner.abort();
  };
  try {
    fasttext::Args args = arguments(training, input.path());
    learner.train(args, watch);
    if (training.quantize) {
      args.qnorm = true;
      learner.quantize(args);
    }
    learner.saveModel(model.path());
  } catch (const std::exception& error) {
    throw_if_stopped();
    fail("fastText cannot train this classifier (a lower learning rate may help): ", error.what());
  }
  const std::string bytes = read_file(model.path());
  try {
    read_fasttext(bytes, "the model");  // the library does not notice a full disk
  } catch (const Error& error) {
    fail("what fastText wrote to a temporary file is not whole (is the folder of TMPDIR full?): ", error.what());
  }
  return bytes + classifier_note(positive);
}

}  // namespace ds
