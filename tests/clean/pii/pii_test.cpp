#include "clean/pii/pii.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "clean/pii/finds.h"
#include "clean/pii/pii_find.h"

namespace ds {
namespace {

TEST(Pii, KindsAreChosenAndOverlapsBecomeOne) {
  const std::string text =
      "a@example.com 93.184.216.34 4111 1111 1111 1111 GB82 WEST 1234 5698 7654 32 +1 650 253 0000";
  EXPECT_EQ(finds(text), (Finds{"email a@example.com", "ip 93.184.216.34", "card 4111 1111 1111 1111",
                                "iban GB82 WEST 1234 5698 7654 32", "phone +1 650 253 0000"}));
  EXPECT_EQ(finds(text, pii_bit(PiiKind::ip) | pii_bit(PiiKind::phone)),
            (Finds{"ip 93.184.216.34", "phone +1 650 253 0000"}));
  EXPECT_TRUE(finds(text, 0).empty());
  EXPECT_EQ(finds("650-253-0000@example.com"), Finds{"email 650-253-0000@example.com"});
  EXPECT_EQ(finds("password=f7Kq2x9Zr4@example.com"), Finds{"email f7Kq2x9Zr4@example.com"});
}

TEST(Pii, ARedactedTextHasNoneLeft) {
  const std::string text = "Ann <a@example.com>, tel. +1 650 253 0000, from 93.184.216.34.";
  std::vector<PiiMatch> matches;
  find_pii(text, all_pii_kinds, matches);
  const std::string redacted = redact_pii(text, matches);
  EXPECT_EQ(redacted, "Ann <<EMAIL>>, tel. <PHONE>, from <IP>.");
  EXPECT_TRUE(finds(redacted).empty());
  EXPECT_EQ(redact_pii("plain", {}), "plain");
}

TEST(Pii, KindListsAreParsed) {
  EXPECT_EQ(parse_pii_kinds("--pii", "all"), all_pii_kinds);
  EXPECT_EQ(parse_pii_kinds("--pii", "email,ip"), pii_bit(PiiKind::email) | pii_bit(PiiKind::ip));
  EXPECT_EQ(parse_pii_kinds("--pii", "key"), pii_bit(PiiKind::key));
  for (const char* bad : {"", ",", "email,", ",ip", "mail", "EMAIL", "email ip", "all,ip"}) {
    try {
      parse_pii_kinds("--pii", bad);
      ADD_FAILURE() << bad;
    } catch (const UsageError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("--pii must be")) << error.what();
    }
  }
  for (size_t i = 0; i < pii_kind_count; ++i)
    EXPECT_EQ(parse_pii_kinds("--pii", pii_name(static_cast<PiiKind>(i))), 1u << i);
}

// Texts that make a careless scanner quadratic: at 1 MB that takes minutes, and one pass milliseconds.
TEST(Pii, LinearInTheText) {
  const auto repeat = [](std::string_view part) {
    std::string text;
    while (text.size() < 1'000'000) text += part;
    return text;
  };
  const std::string begin_key = std::string("-----BEGIN ") + "PRIVATE KEY-----\n";
  const std::vector<std::string> table = {"@",
                                          "1",
                                          ".",
                                          "a.",
                                          "a@",
                                          "a.a@",
                                          "-",
                                          ":",
                                          "=",
                                          "_",
                                          "1 ",
                                          "1.",
                                          "1:",
                                          "+1",
                                          "(",
                                          "(1",
                                          "eyJ",
                                          "eyJ-",
                                          "eyJ.",
                                          "eyJaaaaaaaaaaaa.",
                                          "sk-",
                                          "ghp_a",
                                          "K",
                                          "AKIA",
                                          "GB82",
                                          "GB82 ",
                                          "2000:",
                                          "2000::",
                                          "password=",
                                          "token: ",
                                          " ",
                                          begin_key,
                                          begin_key + base62 + base62 + "-----END ",
                                          "4111 ",
                                          "0123-",
                                          "\u4E2D",
                                          "\u4E2D@",
                                          "\x80@",
                                          std::string(1, '\0')};
  for (const std::string& part : table) {
    const std::string text = repeat(part);
    std::vector<PiiMatch> matches;
    const std::clock_t start = std::clock();
    find_pii(text, all_pii_kinds, matches);
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 3) << part;
  }
}

// Random bytes and random pieces: no read beyond the ends (sanitizers), matches as promised.
TEST(Pii, RandomTextsKeepThePromises) {
  const std::vector<std::string> pieces = {"@",
                                           "a",
                                           "1",
                                           "23",
                                           ".",
                                           ".com",
                                           "-",
                                           "+",
                                           "(",
                                           ")",
                                           " ",
                                           ":",
                                           "::",
                                           "2001",
                                           "=",
                                           "password",
                                           "eyJ",
                                           "-----BEGIN ",
                                           "PRIVATE KEY",
                                           "GB82",
                                           "4111",
                                           "\u4E2D",
                                           "\xE4",
                                           "\x80",
                                           "\u00A0",
                                           "AKIA",
                                           "_",
                                           "sk-",
                                           std::string(1, '\0'),
                                           "650-253-0000",
                                           "\uFF08"};
  const Rng rng{6, 0};
  for (uint64_t i = 0; i < 30000; ++i) {
    std::string text;
    const uint64_t count = rng.below(i * 64, 30);
    for (uint64_t k = 0; k < count; ++k) text += pieces[rng.below(i * 64 + k + 1, pieces.size())];
    finds(text);
  }
}

}  // namespace
}  // namespace ds
