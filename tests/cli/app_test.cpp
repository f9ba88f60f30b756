// The command line itself: what a tool's action gets to see, and how a run ends.
#include "cli/app.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <limits>
#include <new>

#include "base/error.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "contract/process.h"
#include "io/json.h"
#include "io/output.h"

namespace ds {

// A tool with one action of each kind, run inside the test.
struct Sample {
  std::vector<std::string> files, list, tags;
  double near = 0.8;
  std::optional<double> share;
  bool exact = false, resume = false;
  std::string output, preset, input;
  size_t memory = size_t{64} << 20;
  int64_t k = 5;
  CommonOptions common;
  std::string ran;
  std::function<int()> act = [] { return 0; };

  int run(std::vector<std::string> words) {
    App app("ds-sample", "shows how options work");
    const auto action = [this](const char* name) {
      return [this, name](const CommonOptions& c, Report&) {
        common = c;
        ran = name;
        return act();
      };
    };
    Options o = app.verb("", "", {"ds-sample in.jsonl"}, action("default"));
    o.option("FILE", files, "records", "FILE").group("Filters").option("--near", near, "similarity", "T").range(0, 1);
    o.option("--share", share, "share of words")
        .flag("--exact", exact, "exact ones")
        .bytes("--memory", memory, "bytes held");
    o.option("-o,--output", output, "result", "FILE").choice("--preset", preset, {"small", "large"}, "several at once");
    o.option("--list", list, "names", "NAMES").commas().option("--tag", tags, "tags");
    o.flag("--resume", resume, "go on").incidental();
    Options learn = app.verb("learn", "learns", {"ds-sample learn x"}, action("learn"));
    learn.option("INPUT", input, "labelled", "FILE").required().option("-k", k, "neighbours").dry_run();
    words.insert(words.begin(), "ds-sample");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int status = app.run(static_cast<int>(words.size()), argv.data());
    out = testing::internal::GetCapturedStdout();
    err = testing::internal::GetCapturedStderr();
    return status;
  }
  std::string out, err;
};

using Words = std::vector<std::string>;

TEST(App, OptionsReachTheirFields) {
  Sample s;
  EXPECT_EQ(s.run({"--near", "0.25", "a", "--exact", "-o", "x", "b", "--memory=2K", "--list", "p,q", "--list=r",
                   "--tag", "t,u", "--tag", "v", "-j3", "-vv", "--seed", "18446744073709551615"}),
            0)
      << s.err;
  EXPECT_EQ(s.ran, "default");
  EXPECT_EQ(s.near, 0.25);
  EXPECT_TRUE(s.exact);
  EXPECT_EQ(s.output, "x");
  EXPECT_EQ(s.memory, 2048u);
  EXPECT_EQ(s.files, (Words{"a", "b"}));
  EXPECT_EQ(s.list, (Words{"p", "q", "r"}));
  EXPECT_EQ(s.tags, (Words{"t,u", "v"}));
  EXPECT_EQ(s.common.threads, 3u);
  EXPECT_EQ(threads(), 3u);
  EXPECT_EQ(s.common.verbose, 2);
  EXPECT_EQ(s.common.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_FALSE(s.share.has_value());
}

TEST(App, WordsThatLookLikeOthers) {
  Sample s;
  EXPECT_EQ(s.run({"[a]", "-", "--output", "--exact", "--", "-x", "learn", "--"}), 0) << s.err;
  EXPECT_EQ(s.files, (Words{"[a]", "-", "-x", "learn", "--"}));
  EXPECT_EQ(s.output, "--exact");  // a value is what follows, whatever it looks like
  EXPECT_FALSE(s.exact);
  Sample empty;
  EXPECT_EQ(empty.run({"--output=", "file"}), 0) << empty.err;
  EXPECT_EQ(empty.output, "");
  EXPECT_EQ(empty.files, Words{"file"});
}

TEST(App, AFirstWordThatIsAVerbIsTheVerb) {
  Sample s;
  EXPECT_EQ(s.run({"learn", "x", "-k", "7", "--dry-run"}), 0) << s.err;
  EXPECT_EQ(s.ran, "learn");
  EXPECT_EQ(s.input, "x");
  EXPECT_EQ(s.k, 7);
  EXPECT_TRUE(s.common.dry_run);
  EXPECT_EQ(s.run({"./learn"}), 0);
  EXPECT_EQ(s.files, Words{"./learn"});
}

TEST(App, WrongUsageIsTwoAndSaysWhatToDo) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--naer", "1"}, "unknown option '--naer'; did you mean '--near'?"},
      {{"--exac=1"}, "unknown option '--exac'; did you mean '--exact'?"},
      {{"--near", "0.1", "--near", "0.1"}, "--near is given more than once"},
      {{"--near"}, "--near needs a value (T)"},
      {{"--near", "x"}, "--near: 'x' is not a number"},
      {{"--near", "0x1p-1"}, "--near: '0x1p-1' is not a number"},
      {{"--near", "nan"}, "--near: 'nan' is not a number"},
      {{"--near", "1.5"}, "--near must be from 0 to 1, not 1.5"},
      {{"-j", "-1"}, "--threads: '-1' is not a whole number from 0"},
      {{"--seed", "18446744073709551616"}, "in the range of integers"},
      {{"--memory", "2Q"}, "'2Q' is not a size"},
      {{"--preset", "smal"}, "--preset: 'smal' is none of small|large; did you mean 'small'?"},
      {{"--dry-run"}, "unknown option '--dry-run'"},
      {{"learn"}, "INPUT is required"},
      {{"learn", "a", "b"}, "unexpected argument 'b'"},
      {{"--exact=perhaps"}, "--exact takes no value"},
  };
  for (const auto& [words, message] : cases) {
    Sample s;
    EXPECT_EQ(s.run(words), 2) << message;
    EXPECT_EQ(s.ran, "");
    EXPECT_TRUE(s.err.starts_with("ds-sample: error: ")) << s.err;
    EXPECT_NE(s.err.find(message), std::string::npos) << s.err;
    EXPECT_EQ(std::count(s.err.begin(), s.err.end(), '\n'), 1) << s.err;
  }
}

TEST(App, ConfigFile) {
  const test::Scratch scratch;
  const std::string path = scratch.path / "c.toml";
  test::spill(path,
              "near = 0.5\nexact = true\nlist = [\"a,b\", \"c\"]\nmemory = \"3M\"\nthreads = 2\nseed = 9\nverbose = "
              "1\n[learn]\nk = 8\nseed = 4\n");
  Sample s;
  EXPECT_EQ(s.run({"--config", path, "--near", "0.6"}), 0) << s.err;
  EXPECT_EQ(s.near, 0.6);  // the command line wins
  EXPECT_TRUE(s.exact);
  EXPECT_EQ(s.list, (Words{"a", "b", "c"}));
  EXPECT_EQ(s.memory, size_t{3} << 20);
  EXPECT_EQ(s.common.threads, 2u);
  EXPECT_EQ(s.common.seed, 9u);
  EXPECT_EQ(s.common.verbose, 1);
  Sample learn;
  EXPECT_EQ(learn.run({"learn", "x", "--config", path}), 0) << learn.err;
  EXPECT_EQ(learn.k, 8);
  EXPECT_EQ(learn.common.seed, 4u);  // the verb's table wins over the top

  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"naer = 1\n", "unknown key 'naer'; did you mean 'near'?"},
      {"near = \"x\"\n", "'x' is not a number"},
      {"near = [0.5]\n", "takes one value"},
      {"near = true\n", "expected T, not true or false"},
      {"exact = 1\n", "expected true or false"},
      {"near = = 1\n", ":1: "},
      {"\n[lern]\n", "unknown table [lern]"},
      {"[learn]\nnear = 0.5\n", "unknown key 'near' in [learn]"},
      {"near = 0.1\nnear = 0.2\n", ":2: "},
  };
  for (const auto& [text, message] : wrong) {
    test::spill(path, text);
    Sample bad;
    EXPECT_EQ(bad.run({"--config", path}), 2) << text;
    EXPECT_NE(bad.err.find(message), std::string::npos) << text << bad.err;
  }
  Sample absent;
  EXPECT_EQ(absent.run({"--config", scratch.path / "none.toml"}), 1);
  EXPECT_NE(absent.err.find("none.toml"), std::string::npos) << absent.err;
}

TEST(App, HowARunEnds) {
  Sample s;
  s.act = [] { return 3; };
  EXPECT_EQ(s.run({}), 3);
  s.act = []() -> int { fail("in.jsonl:7: no field\n\"text\""); };
  EXPECT_EQ(s.run({}), 1);
  EXPECT_EQ(s.err, "ds-sample: error: in.jsonl:7: no field \"text\"\n");
  s.act = []() -> int { throw UsageError("--a and --b exclude each other"); };
  EXPECT_EQ(s.run({}), 2);
  s.act = []() -> int { throw std::bad_alloc(); };
  EXPECT_EQ(s.run({}), 1);
  EXPECT_NE(s.err.find("out of memory"), std::string::npos);
  EXPECT_EQ(s.run({"--log-format", "json"}), 1);
  EXPECT_NE(parse_json(s.err, "err").find("message")->text.find("out of memory"), std::string::npos);
}

TEST(AppDeathTest, SignalsAndClosedPipes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto run_with = [](std::function<int()> act) {
    Sample s;
    s.act = std::move(act);
    std::exit(s.run({}));
  };
  EXPECT_EXIT(run_with([]() -> int { throw ClosedPipe{}; }), testing::KilledBySignal(SIGPIPE), "^$");
  EXPECT_EXIT(run_with([]() -> int {
                raise(SIGTERM);
                throw_if_stopped();
                return 0;
              }),
              testing::KilledBySignal(SIGTERM), "^$");
  EXPECT_EXIT(run_with([]() -> int {
                raise(SIGINT);
                raise(SIGINT);
                return 0;
              }),
              testing::KilledBySignal(SIGINT), "^$");
}

TEST(App, ReportHasTheOptionsThatDecideTheBytes) {
  const test::Scratch scratch;
  const std::string path = scratch.path / "r.json";
  Sample s;
  EXPECT_EQ(s.run({"--report", path, "--near", "0.5", "--list", "a", "-o", "x", "-j2", "in"}), 0) << s.err;
  const Json report = parse_json(test::slurp(path), path);
  const Json* options = report.find("options");
  ASSERT_NE(options, nullptr);
  std::vector<std::string> names;
  for (const auto& member : options->members) names.push_back(member.first);
  EXPECT_EQ(names, (Words{"near", "share", "exact", "memory", "preset", "list", "tag", "seed"}));
  EXPECT_EQ(options->find("near")->text, "0.5");
  EXPECT_EQ(options->find("share")->type, Json::Type::null);
}

TEST(App, HelpShowsGroupsDefaultsAndUnits) {
  Sample s;
  EXPECT_EQ(s.run({"--naer", "-h"}), 0) << s.err;  // help, whatever else is wrong
  for (const char* text :
       {"Usage: ds-sample [OPTION...] [FILE...]", "ds-sample VERB", "\nFilters:\n", "--near T", "(default 0.8)",
        "--memory BYTES", "(default 64M)", "small|large", "  ds-sample in.jsonl\n", "Exit status"})
    EXPECT_NE(s.out.find(text), std::string::npos) << text << "\n" << s.out;
  EXPECT_EQ(s.out.find("dump-options"), std::string::npos);
  EXPECT_EQ(s.out.find("(default )"), std::string::npos);
  for (size_t begin = 0; begin < s.out.size();) {
    const size_t end = s.out.find('\n', begin);
    EXPECT_LE(end - begin, 80u) << s.out.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(App, DumpIsOneLineAnOption) {
  Sample s;
  EXPECT_EQ(s.run({"--dump-options"}), 0);
  EXPECT_NE(s.out.find("-\t--near\t0.8\tT\tsimilarity\n"), std::string::npos) << s.out;
  EXPECT_NE(s.out.find("learn\t-k\t5\tN\tneighbours\n"), std::string::npos) << s.out;
  EXPECT_NE(s.out.find("learn\t--dry-run\t"), std::string::npos);
  EXPECT_EQ(s.out.find("-\t--dry-run\t"), std::string::npos);
}

}  // namespace ds
