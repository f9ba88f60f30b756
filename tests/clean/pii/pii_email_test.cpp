#include "clean/pii/pii.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "base/rng.h"
#include "clean/pii/finds.h"
#include "clean/pii/pii_find.h"

namespace ds {
namespace {

TEST(PiiEmail, AddressesAreFound) {
  expect_found(PiiKind::email,
               {
                   {"alice@example.com", "alice@example.com"},
                   {"write to <bob.smith+lists@mail.example.co.uk>.", "bob.smith+lists@mail.example.co.uk"},
                   {"(x_1-y@a-b.org)", "x_1-y@a-b.org"},
                   {"mailto:carol@uni.edu?subject=x", "carol@uni.edu"},
                   {"At dave@example.com.", "dave@example.com"},
                   {"ERIN@EXAMPLE.COM", "ERIN@EXAMPLE.COM"},
                   {"12345@qq.com", "12345@qq.com"},
                   {"...frank@example.org...", "frank@example.org"},
                   {"o'brien@example.ie", "o'brien@example.ie"},
                   {"'grace@example.net'", "grace@example.net"},
                   {"email=heidi@example.fr&x=1", "heidi@example.fr"},
                   {"jos\u00E9@correo.es", "jos\u00E9@correo.es"},
                   {"info@m\u00FCller.de", "info@m\u00FCller.de"},
                   {"ivan@xn--80ak6aa92e.xn--p1ai", "ivan@xn--80ak6aa92e.xn--p1ai"},
                   {"\u90AE\u7BB1\uFF1Awang@163.com\u3002", "wang@163.com"},
                   {"\u90AE\u7BB1wang@163.com\u8C22\u8C22", "wang@163.com"},
                   {"a@b.travel", "a@b.travel"},
               });
  const std::string nul("x\0y@example.com\0z", 16);
  EXPECT_EQ(finds(nul), Finds{"email y@example.com"});
}

TEST(PiiEmail, NearMissesAreNot) {
  expect_none(PiiKind::email, {"",
                               "@",
                               "a@",
                               "@b.com",
                               "a@b",
                               "user@localhost",
                               "foo@1.2.3.4",
                               "lodash@4.17.21",
                               "logo@2x.png",
                               "getty@tty1.service",
                               "openvpn@client.conf",
                               "foo.@example.com",
                               "a@b..com",
                               "a@-b.com",
                               "a@b-.com",
                               "a@b.c",
                               "a@b.c0m",
                               "a@b.zz",
                               "a@@b.com",
                               "a@b.com@c",
                               "@user@mastodon.social",
                               "$USER@example.com",
                               "%s@example.com",
                               "if (x @ y.z)",
                               "a@b.com_x",
                               "f(@Override.class)",
                               "decorator @app.route",
                               "\u4F60\u597D@example.com"});
  EXPECT_TRUE(finds(std::string(65, 'a') + "@example.com").empty());
  EXPECT_EQ(finds(std::string(64, 'a') + "@example.com").size(), 1u);
  EXPECT_TRUE(finds("a@" + std::string(64, 'b') + ".com").empty());
  EXPECT_EQ(finds("a@" + std::string(63, 'b') + ".com").size(), 1u);
}

// In short random texts of the letters that matter, against a regular expression of the same rule.
TEST(PiiEmail, AgreesWithARegularExpression) {
  // Of the letters below, de, ba and bb are countries.
  const std::regex rule(
      R"((^|[^a-z0-9_.+@$-])[.+-]*([a-z0-9_][a-z0-9_+-]*(\.[a-z0-9_+-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+)"
      R"((de|ba|bb|(?!deb(?![a-z0-9]))[a-z]{3,24}))(?![a-z0-9_@-])(?!\.[a-z0-9]))");
  constexpr std::string_view letters = "aab@@..-+_ 1$";
  const Rng rng{3, 0};
  size_t found = 0;
  for (uint64_t i = 0; i < 40000; ++i) {
    std::string text;
    const uint64_t pieces = 1 + rng.below(i * 40, 12);
    for (uint64_t k = 1; k <= pieces; ++k) {
      const uint64_t choice = rng.below(i * 40 + k, letters.size() + 4);
      if (choice < letters.size())
        text += letters[choice];
      else
        text += choice % 2 ? ".com " : "x@b.de";
    }
    // The expression has no words for dots in a row.
    if (text.find("..") != std::string::npos) continue;
    Finds expected;
    for (std::sregex_iterator match(text.begin(), text.end(), rule), end; match != end; ++match)
      expected.push_back("email " + (*match)[2].str());
    EXPECT_EQ(finds(text, pii_bit(PiiKind::email)), expected) << text;
    found += expected.size();
  }
  EXPECT_GT(found, 2000u);
}

}  // namespace
}  // namespace ds
