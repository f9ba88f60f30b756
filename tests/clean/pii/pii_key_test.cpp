#include "clean/pii/pii.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "clean/pii/finds.h"
#include "clean/pii/pii_find.h"

namespace ds {
namespace {

// Assembled, so that no scanner of repositories takes them for real ones.
TEST(PiiKey, KeysAreFound) {
  const std::string web_token = "eyJ" + std::string("hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ") +
                                "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
  std::string body;
  for (int i = 0; i < 3; ++i) body += base62 + "+/" + base62.substr(0, 22) + "\n";
  const std::string pem =
      "-----BEGIN " + std::string("RSA PRIVATE KEY-----\n") + body + "-----END RSA PRIVATE KEY-----";
  for (const std::string& key :
       {std::string("AKIA") + "Q5XNM4R7TZ2WPL6K", std::string("ASIA") + "Q5XNM4R7TZ2WPL6K",
        "ghp_" + base62.substr(0, 36), "gho_" + base62.substr(0, 36), "github_pat_" + base62 + "_" + base62,
        "glpat-" + base62.substr(0, 20), std::string("xoxb-") + "123456789012-123456789012-" + base62.substr(0, 24),
        "AIza" + base62.substr(0, 35), "sk_live_" + base62.substr(0, 24), "rk_test_" + base62.substr(0, 24),
        "sk-" + base62, "sk-proj-" + base62, "sk-ant-api03-" + base62, "hf_" + base62.substr(0, 34),
        "npm_" + base62.substr(0, 36), "SG." + base62.substr(0, 22) + "." + base62 + "abc", web_token, pem}) {
    for (const std::string& text :
         {key, "key: " + key + " end", "(" + key + ")", "\u5BC6\u94A5" + key + "\u3002", "\"" + key + "\""})
      EXPECT_EQ(finds(text), Finds{"key " + key}) << text;
  }
  EXPECT_EQ(finds(pem + "\n" + pem).size(), 2u);
  EXPECT_EQ(finds("-----BEGIN " + std::string("PRIVATE KEY-----\n") + body + "and no end").size(), 1u);
  for (const auto& [text, match] : std::vector<Positive>{
           {"password=f7Kq2x9Zr4", "f7Kq2x9Zr4"},
           {"api_key: \"9f8a7b6c5d4e3f2a1b0c\"", "9f8a7b6c5d4e3f2a1b0c"},
           {"'client_secret' => 'Zx81Cv92Bn03Mq'", "Zx81Cv92Bn03Mq"},
           {"DB_PASSWORD = p4ssW9rd7Q!x2", "p4ssW9rd7Q!x2"},
           {"?access_token=k3j4h5g6f7d8&x=1", "k3j4h5g6f7d8"},
           {"auth-token: 123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
           {"aws_secret_access_key=wJ4lrXU7nFEM9/K7MDENG2bPxRfi", "wJ4lrXU7nFEM9/K7MDENG2bPxRfi"}})
    EXPECT_EQ(finds(text, pii_bit(PiiKind::key)), Finds{std::string("key ") + match}) << text;
}

TEST(PiiKey, WordsAndPlaceholdersAreNot) {
  const std::string k = base62;
  const std::vector<std::string> table = {
      "AKIA",
      std::string("AKIA") + "Q5XNM4R7TZ2WPL6",
      "xAKIA" + std::string("Q5XNM4R7TZ2WPL6K"),
      "AKIA" + std::string(16, 'A'),
      "ghp_" + k.substr(0, 35),
      "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
      "sk-circle-fade-dot-animation-first",
      "task-" + k,
      "sk_live_short1",
      "eyJ",
      "eyJabc.eyJdef.ghi",
      "AIza" + k.substr(0, 34),
      "xoxb-your-token-goes-right-here",
      "hf_hub_download",
      "npm_config_registry",
      std::string("-----BEGIN ") + "CERTIFICATE-----\n" + k + k + "\n-----END CERTIFICATE-----",
      std::string("a -----BEGIN ") + "PRIVATE KEY----- line",
      std::string("-----BEGIN ") + "PUBLIC KEY-----\n" + k + k,
      "password=PASSWORD",
      "password: hunter2",
      "password=$DB_PASS1x2y3z4",
      "token = get_token4(x1, y2)",
      "password = os.environ['P4S5W6ORD']",
      "api_key=your-api-key-1a2b3c",
      "secret: example1a2b3c4d5",
      "password=/etc/x1/y2/z3/w4",
      "monkey: a1b2c3d4e5f6g7h8",
      "The token: it was 10 o'clock",
      "token=2015-01-02T10:00:00Z",
      "secret=foo-1.2.3.tar.gz",
      "page_token = NextPageTokenValue",
      "password=123456789012",
      "password=",
      "secret:",
      "=:_-KSzJ"};
  for (const std::string& text : table) EXPECT_EQ(finds(text, pii_bit(PiiKind::key)), Finds{}) << text;
}

}  // namespace
}  // namespace ds
