#include "text/classifier.h"

#include <fasttext/fasttext.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "io/input.h"
#include "text/classifier_trainer.h"
#include "text/units.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using fasttext::loss_name;

class ClassifierTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("classifier_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

// Words of three topics, some shared, some rare, some not ASCII.
std::string random_text(uint64_t stream, size_t topic, size_t words) {
  const Rng rng{7, stream};
  static const char* syllables[] = {"ka", "lo", "mü", "нет", "字", "xi", "qu", "re", "v", "ß"};
  std::string text;
  for (size_t i = 0; i < words; ++i) {
    const uint64_t shared = rng.below(3 * i, 3),
                   number = rng.below(3 * i + 1, 40) + (shared == 0 ? 0 : 40 * (topic + 1));
    if (i > 0) text += rng.below(3 * i + 2, 9) == 0 ? "\t" : " ";
    for (uint64_t rest = number + 3; rest > 0; rest /= 10) text += syllables[rest % 10];
  }
  return text;
}

std::vector<std::pair<std::string, size_t>> examples(size_t count, uint64_t first, size_t topics) {
  std::vector<std::pair<std::string, size_t>> result;
  for (size_t i = 0; i < count; ++i) {
    const size_t topic = i % 7 < 3 ? 0 : i % topics;  // not balanced: the Huffman tree is no full one
    result.emplace_back(random_text(first + i, topic, 1 + i % 30), topic);
  }
  return result;
}

fasttext::Args library_args(const std::string& input) {
  fasttext::Args args;
  args.model = fasttext::model_name::sup;
  args.loss = loss_name::softmax;
  args.input = input;
  args.dim = 10;
  args.epoch = 20;
  args.lr = 0.5;
  args.minCount = 1;
  args.minn = args.maxn = 0;
  args.bucket = 300;
  args.thread = 1;
  args.verbose = 0;
  return args;
}

void train_with_library(fasttext::FastText& library, const std::string& folder, size_t topics,
                        const std::function<void(fasttext::Args&)>& change) {
  const std::string input = folder + "/train.txt";
  std::ofstream out(input);
  for (const auto& [text, topic] : examples(300 + 2 * topics, 0, topics))
    out << "__label__t" << topic << " " << text << "\n";
  out.close();
  fasttext::Args args = library_args(input);
  change(args);
  library.train(args);
}

std::map<std::string, double> library_predictions(const fasttext::FastText& library, const std::string& text) {
  std::istringstream line(text + "\n");
  std::vector<std::pair<fasttext::real, std::string>> found;
  library.predictLine(line, found, 100000, 0.0f);
  std::map<std::string, double> result;
  for (const auto& [probability, label] : found) result[label.substr(9)] = probability;
  return result;
}

struct Case {
  const char* name;
  std::function<void(fasttext::Args&)> change;
  std::function<void(fasttext::Args&)> quantize;
  double tolerance = 2e-4;  // fastText adds 1e-5 to a probability, at each node of a tree; ours are rounded
  size_t topics = 3;
};

// Every kind of model that the format knows, against the library that defines the format.
TEST_F(ClassifierTest, AgreesWithTheLibrary) {
  const auto plain = [](fasttext::Args& args) { args.bucket = 0; };
  const auto ngrams = [](fasttext::Args& args) { args.wordNgrams = 3, args.minn = 2, args.maxn = 4; };
  const Case cases[] = {
      {"words", plain, {}},
      {"two labels", plain, {}, 2e-4, 2},
      {"word n-grams", [](auto& args) { args.wordNgrams = 2; }, {}},
      {"characters", [](auto& args) { args.minn = 1, args.maxn = 3; }, {}},
      {"both", ngrams, {}},
      {"rare words unknown", [](auto& args) { args.minCount = 20, args.minn = 3, args.maxn = 3; }, {}},
      {"tree", [](auto& args) { args.loss = loss_name::hs, args.wordNgrams = 2; }, {}, 4e-4, 12},
      {"tree of two", [](auto& args) { args.loss = loss_name::hs; }, {}, 2e-4, 2},
      {"one against all", [](auto& args) { args.loss = loss_name::ova; }, {}, 0.01},
      {"negative sampling", [](auto& args) { args.loss = loss_name::ns; }, {}, 0.01},
      {"quantized", ngrams, [](auto&) {}},
      {"quantized norms", ngrams, [](auto& args) { args.qnorm = true; }},
      {"quantized, parts of 3", ngrams, [](auto& args) { args.qnorm = true, args.dsub = 3; }},
      {"pruned", ngrams, [](auto& args) { args.cutoff = 260, args.qnorm = true; }},
      {"quantized output", [](auto& args) { args.wordNgrams = 2; },
       [](auto& args) { args.qout = true, args.qnorm = true; }, 2e-4, 300},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    fasttext::FastText library;
    train_with_library(library, folder_.string(), c.topics, c.change);
    if (c.quantize) {
      fasttext::Args args = library_args(path("train.txt"));
      c.quantize(args);
      library.quantize(args);
    }
    library.saveModel(path("model.bin"));
    const Classifier ours(path("model.bin"));
    EXPECT_EQ(ours.preparation(), TextPreparation::raw);
    EXPECT_EQ(ours.positive(), "");
    auto texts = examples(60, 1000, c.topics);
    for (const char* odd : {"", " ", "unknown", "k", "\xff\xfe", "__label__t0 kalo", "<", "字", "v v v v v v v v"})
      texts.emplace_back(odd, 0);
    bool told_apart = false;
    for (const auto& [text, topic] : texts) {
      const auto expected = library_predictions(library, text);
      const auto found = ours.predict(text);
      ASSERT_EQ(found.size(), ours.labels().size());
      double highest = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        const auto place = expected.find(ours.labels()[i]);
        EXPECT_NEAR(found[i], place == expected.end() ? 0 : place->second, c.tolerance) << text;
        highest = std::max(highest, found[i]);
      }
      const auto best = ours.best(text);
      EXPECT_EQ(best.probability, highest);
      EXPECT_EQ(found[best.label], highest);
      told_apart |= highest > 0.9;
    }
    EXPECT_TRUE(told_apart || c.topics > 100) << "the models say nothing, so the comparison does not either";
  }
}

TEST_F(ClassifierTest, LineEndsAreSpacesInRawModels) {
  fasttext::FastText library;
  train_with_library(library, folder_.string(), 3, [](auto& args) { args.wordNgrams = 2; });
  library.saveModel(path("model.bin"));
  const Classifier model(path("model.bin"));
  const std::string text = random_text(5, 1, 20);
  std::string lines = text;
  for (char& c : lines)
    if (c == ' ') c = '\n';
  EXPECT_EQ(model.predict(lines), model.predict(text));
  EXPECT_EQ(model.predict(std::string("\0\r\n", 3) + text + std::string(2, '\0')), model.predict(text));
  EXPECT_NE(model.predict(text), model.predict(""));
  EXPECT_EQ(model.find_label("t1").has_value(), true);
  EXPECT_EQ(model.find_label("t9"), std::nullopt);
}

std::string tiny_model(const ClassifierTraining& changed = {}, const std::string& positive = "yes") {
  std::vector<LabelledText> texts;
  for (const auto& [text, topic] : examples(300, 0, 2)) texts.push_back({prepare_text(text), topic ? 0u : 1u});
  return train_classifier(texts, {"yes", "no"}, positive, changed);
}

ClassifierTraining small_training() {
  ClassifierTraining training;
  training.dim = 4;
  training.buckets = 300;
  training.max_characters = training.min_characters = 2;
  return training;
}

TEST_F(ClassifierTest, OurOwnModelsPrepareTexts) {
  const std::string bytes = tiny_model();
  std::ofstream(path("m.bin"), std::ios::binary) << bytes;
  const Classifier model(path("m.bin"));
  EXPECT_EQ(model.preparation(), TextPreparation::units);
  EXPECT_EQ(model.positive(), "yes");
  EXPECT_EQ(prepare_text("Hello,\nWORLD 你好x __label__yes __LABEL__no x__label__"), "hello world 你 好 x x__label__");
  // The library reads the file as well, and agrees on the prepared text.
  fasttext::FastText library;
  library.loadModel(path("m.bin"));
  size_t right = 0;
  const auto texts = examples(100, 5000, 2);
  for (const auto& [text, topic] : texts) {
    const std::string written = "  " + text + "!!";
    const auto expected = library_predictions(library, prepare_text(text));
    const auto found = model.predict(written);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected.at(model.labels()[i]), 2e-4);
    right += model.labels()[model.best(text).label] == (topic ? "yes" : "no");
  }
  EXPECT_GT(right, 85u) << "of 100; most frequent label: 43";
}

TEST_F(ClassifierTest, TrainingIsRepeatableAndSeeded) {
  EXPECT_EQ(tiny_model(), tiny_model());
  ClassifierTraining other;
  other.seed = 1;
  EXPECT_NE(tiny_model(), tiny_model(other));
  std::vector<LabelledText> texts = {{"a", 0}, {"b", 1}};
  EXPECT_THROW(train_classifier(texts, {"x", "y"}, "",
                                [] {
                                  ClassifierTraining training;
                                  training.min_count = 100;  // no word is left
                                  training.quantize = true;
                                  training.word_ngrams = 1;
                                  return training;
                                }()),
               Error);
}

TEST_F(ClassifierTest, LongAndOddTexts) {
  const auto model = Classifier::parse(tiny_model(small_training()), "m");
  std::string longest = random_text(1, 1, 20);
  const auto expected = model.predict(longest);
  std::string repeated;
  while (repeated.size() < 10'000'000) repeated += longest + "\n";
  const auto found = model.predict(repeated);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 0.05);
  EXPECT_EQ(model.predict(std::string(10'000'000, 'x')).size(), 2u);  // one word
  EXPECT_EQ(model.predict(std::string(1000, '\0')), model.predict(""));
  EXPECT_EQ(model.predict("\xff\xc3\x28"), model.predict("("));
  for (const double p : model.predict("")) EXPECT_TRUE(p >= 0 && p <= 1);
}

TEST_F(ClassifierTest, NothingKnownIsProbabilityZero) {
  // A model pruned to few rows, without the end of a line: the library then gives no prediction at all.
  fasttext::FastText library;
  const std::string input = path("train.txt");
  std::ofstream out(input);
  for (int i = 0; i < 2000; ++i) out << "__label__" << (i % 2 ? "a" : "b") << " w" << i % 300 << " ";
  out.close();  // one line without an end
  fasttext::Args args = library_args(input);
  args.bucket = 0;
  library.train(args);
  library.saveModel(path("m.bin"));
  const Classifier model(path("m.bin"));
  EXPECT_TRUE(library_predictions(library, "unknown").empty());
  EXPECT_EQ(model.predict("unknown"), (std::vector<double>{0, 0}));
  EXPECT_EQ(model.best("").probability, 0);
  EXPECT_GT(model.best("w1").probability, 0);
}

TEST_F(ClassifierTest, AllThreadsAtOnce) {
  const auto model = Classifier::parse(tiny_model(), "m");
  const auto texts = examples(200, 9000, 2);
  std::vector<std::vector<double>> expected;
  for (const auto& text : texts) expected.push_back(model.predict(text.first));
  std::vector<std::thread> threads;
  std::vector<size_t> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) wrong[t] += model.predict(texts[i].first) != expected[i];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<size_t>(4, 0));
}

std::string error_of(const std::string& bytes) {
  try {
    Classifier::parse(bytes, "m.bin").predict("ka lo");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(ClassifierTest, RefusesWhatIsNoModel) {
  const std::string good = tiny_model(small_training());
  ASSERT_EQ(error_of(good), "");
  EXPECT_EQ(error_of(""), "m.bin: is not a fastText model");
  EXPECT_EQ(error_of("{\"a\": 1}"), "m.bin: is not a fastText model");
  const auto with = [&](size_t at, auto value) {
    std::string bytes = good;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    return error_of(bytes);
  };
  // The head: magic, version, dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, rate, t.
  EXPECT_EQ(with(4, int32_t{13}), "m.bin: the file version is 13, expected 11 to 12");
  EXPECT_EQ(with(8, int32_t{0}), "m.bin: the dimension is 0, expected 1 to 65536");
  EXPECT_EQ(with(8, int32_t{5}), "m.bin: the columns of a matrix is 4, expected 5 to 5");
  EXPECT_EQ(with(36, int32_t{1}), "m.bin: is a model of word vectors, expected a classifier (fastText supervised)");
  EXPECT_EQ(with(40, int32_t{0}), "m.bin: has n-grams, but no buckets for them");
  EXPECT_NE(with(40, int32_t{301}).find("rows, expected "), std::string::npos);
  EXPECT_NE(with(64, int32_t{2000000000}).find("m.bin: "), std::string::npos);  // entries
  EXPECT_EQ(error_of(good + "x"), "m.bin: has 20 bytes after the model that say nothing");
  std::string other_positive = good;
  other_positive.replace(good.size() - 4, 3, "yet");
  EXPECT_EQ(error_of(other_positive), "m.bin: has no label like the one that its note calls positive");
  // Not a number among the weights.
  const size_t note = classifier_note("yes").size();
  EXPECT_EQ(with(good.size() - note - 4, std::nanf("")),
            "m.bin: its weights give a text a probability that is no number");
  EXPECT_THROW(Classifier(path("missing.bin")), Error);
  EXPECT_THROW(Classifier(folder_.string()), Error);
  std::ofstream(path("empty.bin")).close();
  EXPECT_THROW(Classifier(path("empty.bin")), Error);
}

// A file cut off anywhere is an Error, but for the one cut that leaves a whole model without the note.
TEST_F(ClassifierTest, RefusesEveryTruncation) {
  ClassifierTraining training = small_training();
  for (const bool quantize : {false, true}) {
    training.quantize = quantize;
    const std::string good = tiny_model(training);
    const size_t whole = good.size() - classifier_note("yes").size();
    for (size_t size = 0; size < good.size(); size += size < 200 || size + 100 > whole ? 1 : 37)
      EXPECT_EQ(error_of(good.substr(0, size)).empty(), size == whole) << size << " of " << good.size();
  }
}

// Any change of bytes gives an Error or a model that predicts.
TEST_F(ClassifierTest, SurvivesDamage) {
  ClassifierTraining training = small_training();
  std::vector<std::string> seeds = {tiny_model(training)};
  training.quantize = true;
  seeds.push_back(tiny_model(training));
  for (const auto& [loss, cutoff] : {std::pair(loss_name::hs, 0), std::pair(loss_name::softmax, 260)}) {
    fasttext::FastText library;
    train_with_library(library, folder_.string(), 12,
                       [&](auto& args) { args.loss = loss, args.dim = 4, args.wordNgrams = 2, args.maxn = 3; });
    if (cutoff > 0) {
      fasttext::Args args = library_args(path("train.txt"));
      args.cutoff = static_cast<size_t>(cutoff), args.qnorm = true;
      library.quantize(args);
    }
    library.saveModel(path("seed.bin"));
    seeds.push_back(read_file(path("seed.bin")));
  }
  size_t accepted = 0, refused = 0;
  for (size_t s = 0; s < seeds.size(); ++s) {
    ASSERT_EQ(error_of(seeds[s]), "");
    for (uint64_t round = 0; round < 1500; ++round) {
      const Rng rng{s, round};
      std::string bytes = seeds[s];
      // Mostly in the head, where the sizes are, and at the ends of what follows.
      for (uint64_t change = 0; change <= rng.below(0, 3); ++change) {
        const size_t range = rng.below(3 * change + 1, 2) ? 100 : bytes.size();
        const uint64_t kind = rng.bits(3 * change + 3);
        bytes[rng.below(3 * change + 2, range)] = static_cast<char>(kind & 1 ? kind >> 8 : (kind & 2 ? 0xFF : 0));
      }
      ++(error_of(bytes).empty() ? accepted : refused);
    }
  }
  EXPECT_GT(accepted, 100u);
  EXPECT_GT(refused, 100u);
}

TEST(Units, AreWordsAndCjkCharacters) {
  const auto units = [](std::string_view text) {
    std::vector<std::string> result;
    UnitReader reader(text);
    for (std::string_view unit; reader.next(unit);) result.emplace_back(unit);
    return result;
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(units(""), List{});
  EXPECT_EQ(units("Don't x_1"), (List{"don", "t", "x_1"}));
  EXPECT_EQ(units("ABC 你好x"), (List{"abc", "你", "好", "x"}));
  EXPECT_EQ(units("傻B，テスト한국v2"), (List{"傻", "b", "テ", "ス", "ト", "한", "국", "v2"}));
  EXPECT_EQ(units("ラーメン・𠀀々"), (List{"ラ", "ー", "メ", "ン", "𠀀", "々"}));
  EXPECT_EQ(units("“Слово” ß—ไทย"), (List{"слово", "ß", "ไทย"}));
  EXPECT_EQ(units(std::string_view("a\0b", 3)), (List{"a", "b"}));
  EXPECT_EQ(unit_hashes("The “quick” Слово"), word_hashes("The “quick” Слово"));
  EXPECT_EQ(unit_hashes("a 你好").size(), 3u);
  EXPECT_FALSE(may_have_cjk("“Слово” — café"));
  EXPECT_TRUE(may_have_cjk("한"));
  for (const char32_t c : {U'々', U'あ', U'ア', U'ー', U'ㄅ', U'ㄱ', U'㐀', U'一', U'龥', U'가', U'豈', U'ｱ', U'𠀀'})
    EXPECT_TRUE(is_cjk(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : {U'a', U'ж', U'ก', U'・', U'。', U'「', U'！', U'Ａ', U'😀'})
    EXPECT_FALSE(is_cjk(c)) << static_cast<uint32_t>(c);
}

}  // namespace
}  // namespace ds
