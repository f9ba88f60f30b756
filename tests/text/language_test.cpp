#include "text/language.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/rng.h"
#include "text/classifier.h"
#include "text/classifier_trainer.h"

namespace ds {
namespace {

struct Sample {
  const char* code;
  const char* text;
};
// Article 1 of the Universal Declaration of Human Rights.
constexpr Sample samples[] = {
    {"en",
     "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience."},
    {"de",
     "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt."},
    {"fr", "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison."},
    {"es", "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón."},
    {"ru", "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью."},
    {"zh", "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"},
    {"zh", "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。"},
    {"ja", "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"},
    {"ko", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."},
    {"he", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון."},
    {"ar", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا."},
    {"el", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."},
};

TEST(Language, KnowsTheDeclarationOfHumanRights) {
  for (const auto& [code, text] : samples) {
    const Language found = detect_language(text);
    EXPECT_EQ(found.code, code) << text;
    EXPECT_GT(found.score, 0.9) << text;
    EXPECT_LE(found.score, 1) << text;
  }
}

TEST(Language, IsUnknownWhereThereIsNoText) {
  using namespace std::string_literals;
  for (const std::string& text : {""s, " "s, "a"s, "字"s, "\0"s, "\0\0\0"s, "123 456"s, "\xff\xfe\xff"s, "...\n\n"s,
                                  std::string(100000, '\0'), std::string(100000, '\x80')}) {
    const Language found = detect_language(text);
    EXPECT_EQ(found.code, "un") << text.substr(0, 10);
    EXPECT_EQ(found.score, 0);
  }
}

TEST(Language, ControlsAndBadBytesDoNotHideTheText) {
  const std::string text = samples[1].text;
  // CLD2 by itself stops at the first of these.
  for (const std::string& odd : {std::string(1, '\0'), std::string("\x01"), std::string("\x7f"), std::string("\xff"),
                                 std::string("\xc2\x85"), std::string("\xef\xbf\xbe"), std::string("\xed\xa0\x80")}) {
    EXPECT_EQ(detect_language(odd + text).code, "de");
    EXPECT_EQ(detect_language(text + odd + text).code, "de");
  }
}

TEST(Language, ScoreIsTheShareOfTheText) {
  std::string german, russian;
  for (int i = 0; i < 10; ++i) german += samples[1].text, russian += samples[4].text;
  const Language mixed = detect_language(german + "\n" + russian + russian);
  EXPECT_EQ(mixed.code, "ru");
  // Bytes: 10 * 111 German, 20 * 186 Russian.
  EXPECT_NEAR(mixed.score, 0.78, 0.05);
}

TEST(Language, LooksAtTheBeginningOnly) {
  std::string english;
  while (english.size() < language_bytes) english += samples[0].text, english += ' ';
  const Language alone = detect_language(std::string_view(english).substr(0, language_bytes));
  std::string longer = english;
  while (longer.size() < 20 * language_bytes) longer += samples[4].text;
  EXPECT_EQ(detect_language(longer).code, "en");
  EXPECT_EQ(detect_language(longer).score, alone.score);
  // A character on the border is left out whole, wherever the border falls in it.
  std::string russian;
  while (russian.size() < 2 * language_bytes) russian += samples[4].text;
  const std::string hangs = "ab字";
  for (size_t shift = 0; shift < 4; ++shift)
    EXPECT_EQ(detect_language(std::string(shift, ' ') + russian).code, "ru") << shift;
}

TEST(Language, AnyBytesGiveAnAnswer) {
  for (uint64_t stream = 0; stream < 300; ++stream) {
    const Rng rng{3, stream};
    std::string text = samples[stream % std::size(samples)].text;
    for (uint64_t i = 0; i < 1 + stream % 40; ++i)
      text[rng.below(2 * i, text.size())] = static_cast<char>(rng.below(2 * i + 1, 256));
    const Language found = detect_language(text);
    EXPECT_GE(found.score, 0);
    EXPECT_LE(found.score, 1);
    EXPECT_EQ(found.code == "un", found.score == 0);
  }
}

TEST(Language, AllThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&wrong, t] {
      for (int round = 0; round < 20; ++round)
        for (const auto& [code, text] : samples) wrong[t] += detect_language(text).code != code;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(Language, ByModel) {
  std::vector<LabelledText> texts;
  for (int copy = 0; copy < 20; ++copy)
    for (uint32_t i = 0; i < 3; ++i) texts.push_back({prepare_text(samples[i].text), i});
  ClassifierTraining training;
  training.min_characters = training.max_characters = 3;
  training.word_ngrams = 1;
  training.buckets = 2000;
  const auto model = Classifier::parse(train_classifier(texts, {"en", "de", "fr"}, "", training), "model");
  EXPECT_EQ(detect_language("they are free and equal in reason", model).code, "en");
  EXPECT_EQ(detect_language("Menschen und Vernunft", model).code, "de");
  const Language found = detect_language("les droits humains", model);
  EXPECT_EQ(found.code, "fr");
  EXPECT_GT(found.score, 0.5);
  EXPECT_LE(found.score, 1);
  std::string longer(language_bytes, ' ');
  EXPECT_EQ(detect_language(longer + samples[0].text, model).score, detect_language("", model).score);
}

TEST(Language, KnowsTheCodesThatItGives) {
  const std::string german = detect_language("Das ist ein deutscher Satz.").code;
  for (const std::string& code : std::vector<std::string>{"en", "zh", "he", "jv", "un", "haw", german})
    EXPECT_TRUE(is_language_code(code)) << code;
  for (const char* code : {"", "eng", "cn", "jp", "EN", "english", "zh-Hant"})
    EXPECT_FALSE(is_language_code(code)) << code;
}

}  // namespace
}  // namespace ds
