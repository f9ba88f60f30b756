#include "clean/url_list.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "io/output.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

class UrlListTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("url_list_test_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream((folder_ / name).string(), std::ios::binary) << content;
    return (folder_ / name).string();
  }
  UrlList list(const std::string& content) const { return UrlList({write("list", content)}); }

  fs::path folder_;
};

std::string parsed(std::string_view text) {
  const auto url = parse_url(text);
  return url ? url->host + " " + url->path + " " + url->query + (url->scheme ? " +" : "") : "none";
}

// What a browser's URL object says of the same text (host, path, query), where it needs no base address.
TEST(Url, IsReadAsBrowsersDo) {
  EXPECT_EQ(parsed("http://example.com"), "example.com   +");
  EXPECT_EQ(parsed("http://example.com/"), "example.com   +");
  EXPECT_EQ(parsed("HTTPS://User:Pa%40ss@EXAMPLE.com.:8080/A/b?Q=1#frag"), "example.com /A/b ?Q=1 +");
  EXPECT_EQ(parsed("https:example.com/x"), "example.com /x  +");
  EXPECT_EQ(parsed("https:////example.com/x"), "example.com /x  +");
  EXPECT_EQ(parsed("  http://example.com/a\nb \r\n"), "example.com /ab  +");
  EXPECT_EQ(parsed("http:\\\\example.com\\a\\b"), "example.com /a/b  +");
  EXPECT_EQ(parsed("http://example.com/a?b\\c"), "example.com /a ?b\\c +");
  EXPECT_EQ(parsed("http://example.com/a/./b/../c"), "example.com /a/c  +");
  EXPECT_EQ(parsed("http://example.com/../.."), "example.com   +");
  EXPECT_EQ(parsed("http://example.com/a/.."), "example.com   +");
  EXPECT_EQ(parsed("http://example.com/a/b/."), "example.com /a/b/  +");
  EXPECT_EQ(parsed("http://example.com/a/.b/..c"), "example.com /a/.b/..c  +");
  EXPECT_EQ(parsed("http://[2001:DB8::1]:80/x"), "[2001:db8::1] /x  +");
  EXPECT_EQ(parsed("http://example.com?q"), "example.com  ?q +");
  EXPECT_EQ(parsed("http://a@b@example.com/"), "example.com   +");
  EXPECT_EQ(parsed("gopher://example.com/x"), "example.com /x  +");
  EXPECT_EQ(parsed("http://xn--mnchen-3ya.de"), "xn--mnchen-3ya.de   +");
  EXPECT_EQ(parsed("http://example.com/%41"), "example.com /%41  +");
  // Without a scheme.
  EXPECT_EQ(parsed("example.com"), "example.com  ");
  EXPECT_EQ(parsed("Example.COM:443/a"), "example.com /a ");
  EXPECT_EQ(parsed("//example.com/a"), "example.com /a ");
  EXPECT_EQ(parsed("user@example.com/a"), "example.com /a ");
  EXPECT_EQ(parsed("example.com/a:b"), "example.com /a:b ");
  for (const char* none : {"",
                           " ",
                           "/",
                           "/index.html",
                           "?q",
                           "#x",
                           "mailto:a@b.com",
                           "javascript:alert(1)",
                           "data:text/html,x",
                           "http://",
                           "http:///",
                           "http://?q",
                           "file:///etc/passwd",
                           "http://exa mple.com",
                           "http://[::1/",
                           "*.example.com",
                           "||example.com^",
                           "http://a%b.com",
                           ".",
                           "http://.example.com",
                           ":80",
                           "@"})
    EXPECT_EQ(parsed(none), "none") << none;
}

TEST_F(UrlListTest, DomainsHoldTheirSubdomains) {
  const UrlList bad = list("example.com\nsub.other.org\nxxx\n");
  for (const char* url : {"http://example.com", "https://example.com/a/b?c", "http://www.example.com/",
                          "http://a.b.c.example.com:81/x", "EXAMPLE.com.", "u@example.com", "//example.com",
                          "http://sub.other.org/", "http://x.sub.other.org/", "https://any.xxx/"})
    EXPECT_TRUE(bad.contains(url)) << url;
  for (const char* url : {"http://example.org", "http://notexample.com/", "http://example.com.evil.org/",
                          "http://other.org/", "http://com/", "http://evil.org/example.com",
                          "http://evil.org/?http://example.com", "http://xxx.org", "", "mailto:a@example.com"})
    EXPECT_FALSE(bad.contains(url)) << url;
  EXPECT_EQ(bad.size(), 3u);
}

TEST_F(UrlListTest, PathsEndAtSegments) {
  const UrlList bad = list("example.com/forum\nblogs.org/~ann/2001/\nshop.net/view?id=3\n");
  for (const char* url : {"http://example.com/forum", "https://example.com/forum/", "http://example.com/forum/a/b",
                          "http://example.com/forum?x", "http://example.com/forum#x", "http://example.com/x/../forum/y",
                          "http://EXAMPLE.com/forum", "http://blogs.org/~ann/2001", "http://blogs.org/~ann/2001/05",
                          "http://shop.net/view?id=3"})
    EXPECT_TRUE(bad.contains(url)) << url;
  for (const char* url : {"http://example.com/", "http://example.com/forums", "http://example.com/Forum",
                          "http://example.com/a/forum", "http://www.example.com/forum", "http://blogs.org/~ann/200",
                          "http://blogs.org/~ann", "http://shop.net/view?id=33", "http://shop.net/view"})
    EXPECT_FALSE(bad.contains(url)) << url;
}

TEST_F(UrlListTest, AFullAddressIsOnePage) {
  const UrlList bad = list("https://example.com/a?b=1\nhttp://other.org/\n");
  for (const char* url : {"https://example.com/a?b=1", "http://example.com/a?b=1#c", "example.com/a?b=1",
                          "http://other.org", "http://other.org/"})
    EXPECT_TRUE(bad.contains(url)) << url;
  for (const char* url : {"https://example.com/a", "https://example.com/a?b=12", "https://example.com/a/x?b=1",
                          "https://www.example.com/a?b=1", "http://other.org/x", "http://www.other.org/"})
    EXPECT_FALSE(bad.contains(url)) << url;
}

TEST_F(UrlListTest, FilesMayHaveCommentsAndBeCompressed) {
  const std::string plain = write("plain", "# list\r\n\r\n  \na.com # why\r\nA.com\nb.com/x\t# why not\nb.com/#top");
  const std::string packed = (folder_ / "packed.zst").string();
  {
    OutputFile out(packed);
    out.write("c.com\n");
    out.commit();
  }
  const UrlList bad({plain, packed});
  EXPECT_EQ(bad.size(), 4u);
  for (const char* url : {"http://a.com/", "http://b.com/y", "http://c.com/"}) EXPECT_TRUE(bad.contains(url)) << url;
  EXPECT_FALSE(UrlList({}).contains("http://a.com"));
  EXPECT_FALSE(list("").contains("http://a.com"));
}

TEST_F(UrlListTest, WhatIsNoEntryIsNamed) {
  for (const char* line :
       {"0.0.0.0 example.com", "||example.com^", "*.example.com", "/forum", "mailto:a@b.com", "http://"}) {
    const std::string file = write("bad", std::string("ok.com\n") + line + "\n");
    try {
      UrlList{{file}};
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(file + ":2: ")) << error.what();
      EXPECT_NE(std::string(error.what()).find(line), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(UrlList({(folder_ / "absent").string()}), Error);
}

// Against the definition, on all addresses of a small world.
TEST_F(UrlListTest, AgreesWithTheDefinition) {
  const std::vector<std::string> hosts = {"a.b", "b", "c.a.b", "ca.b", "d.c.a.b"},
                                 paths = {"", "/x", "/x/y", "/xy", "/x/y/z"};
  const Rng rng{9, 0};
  for (uint64_t round = 0; round < 200; ++round) {
    std::vector<std::pair<std::string, std::string>> entries;
    std::string content;
    for (uint64_t k = 0; k < 2; ++k) {
      entries.emplace_back(hosts[rng.below(round * 8 + 2 * k, hosts.size())],
                           paths[rng.below(round * 8 + 2 * k + 1, paths.size())]);
      content += entries.back().first + entries.back().second + "\n";
    }
    const UrlList bad = list(content);
    for (const auto& host : hosts)
      for (const auto& path : paths) {
        bool expected = false;
        for (const auto& [entry_host, entry_path] : entries)
          expected =
              expected || (entry_path.empty() ? ("." + host).ends_with("." + entry_host)
                                              : host == entry_host && (path + "/").starts_with(entry_path + "/"));
        EXPECT_EQ(bad.contains("http://" + host + path), expected) << content << host << path;
      }
  }
}

TEST_F(UrlListTest, ManyEntriesAndLongAddresses) {
  std::string content;
  for (int i = 0; i < 200'000; ++i) content += "site" + std::to_string(i * 7919) + ".com\n";
  const UrlList bad = list(content + "long.org/a/b/c\n");
  EXPECT_EQ(bad.size(), 200'001u);
  for (int i = 0; i < 200'000; ++i) {
    const bool listed = i % 7919 == 0;
    EXPECT_EQ(bad.contains("http://www.site" + std::to_string(i) + ".com/x"), listed) << i;
  }
  const std::clock_t start = std::clock();
  for (const char* part : {"/", "a.", "?", "@", "/..", ":"}) {
    std::string url = "http://long.org";
    while (url.size() < 1'000'000) url += part;
    EXPECT_FALSE(bad.contains(url)) << part;
  }
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 3);
}

}  // namespace
}  // namespace ds
