// ds-run chat in a terminal: what a person types and sees, and that the terminal is given back as it was.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <utmp.h>

#include <functional>

#include "contract/process.h"
#include "contract/tools.h"

namespace ds::test {
namespace {

// A program in a terminal of its own. The test holds both ends, so that the settings can be asked for after its end.
class Terminal {
 public:
  Terminal(const std::vector<std::string>& words, const std::vector<std::pair<std::string, std::string>>& environment) {
    winsize size{24, 80, 0, 0};
    if (openpty(&keyboard_, &program_, nullptr, nullptr, &size) != 0) throw std::runtime_error("cannot open a terminal");
    tcgetattr(program_, &before_);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ > 0) return;
    close(keyboard_);
    if (login_tty(program_) != 0) _exit(126);
    for (const int s : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) ::signal(s, SIG_DFL);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> pointers;
    for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
    close(keyboard_), close(program_);
  }
  Terminal(const Terminal&) = delete;

  void type(const std::string& keys) {
    mark_ = screen.size();
    ASSERT_EQ(write(keyboard_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // Reads until what came since the last keys holds; false after a minute.
  bool until(const std::function<bool(const std::string&)>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!holds(screen.substr(mark_))) {
      if (std::chrono::steady_clock::now() > end) return false;
      pollfd ready{keyboard_, POLLIN, 0};
      if (poll(&ready, 1, 200) <= 0) continue;
      char buffer[4096];
      const ssize_t n = read(keyboard_, buffer, sizeof buffer);
      if (n <= 0) return false;
      screen.append(buffer, static_cast<size_t>(n));
    }
    return true;
  }
  // Until a text came, and a prompt after it.
  bool shows(const std::string& text) {
    return until([&](const std::string& s) {
      const size_t at = s.find(text);
      return at != std::string::npos && s.find("> ", at + text.size()) != std::string::npos;
    });
  }
  void resize(unsigned short columns) {
    winsize size{24, columns, 0, 0};
    ioctl(keyboard_, TIOCSWINSZ, &size);
  }
  void send(int signal) { kill(pid_, signal); }
  // The status as of waitpid; what is still written is read meanwhile.
  int end() {
    int status = 0;
    until([&](const std::string&) { return waitpid(pid_, &status, WNOHANG) == pid_; });
    pid_ = -1;
    return status;
  }
  bool is_as_before() const {
    termios now;
    tcgetattr(program_, &now);
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag;
  }
  bool is_raw() const {
    termios now;
    tcgetattr(program_, &now);
    return !(now.c_lflag & ICANON) && !(now.c_lflag & ECHO);
  }
  std::string screen;

 private:
  int keyboard_ = -1, program_ = -1;
  pid_t pid_ = -1;
  termios before_;
  size_t mark_ = 0;
};

class ChatInTerminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!exists("ds-run") || !exists("ds-train")) FAIL() << "the tools are not built";
    spill(scratch.path / "config.json", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 270, "hidden_size": 32,
      "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 20000,
      "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": false, "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 0})");
    spill(scratch.path / "train.jsonl", "{\"text\": \"the cat sat on the mat, the cat\"}\n");
    const Result made = run({.words = {"sh", "-c", cat_("PATH=", DS_BUILD_DIR, ":$PATH; ds-train tokenizer -q --vocab-size 270 --pretokenizer gpt2 train.jsonl -o tokenizer.json && "
                                       "ds-train pretrain -q --init config.json --tokenizer tokenizer.json --data train.jsonl --steps 1 --batch-size 1 --sequence-length 8 -o model")},
                             .directory = scratch.path});
    ASSERT_EQ(made.exit, 0) << made.err;
  }
  template <class... A>
  static std::string cat_(const A&... a) {
    return (std::string() + ... + a);
  }
  // With a penalty below zero the first token is likeliest ever after: an answer that only max_tokens or Ctrl-C ends.
  std::vector<std::string> chat() {
    return {executable("ds-run"), "chat", "--plain", "--temperature", "0", "--frequency-penalty", "-100", "--max-tokens", "15000",
            "--model", scratch.path / "model", "--history", scratch.path / "history"};
  }
  Scratch scratch;
};

TEST_F(ChatInTerminal, AnswersStopsPastesAndEnds) {
  Terminal t(chat(), {});
  ASSERT_TRUE(t.shows("Ctrl-D ends")) << t.screen;
  EXPECT_TRUE(t.is_raw());
  t.type("no\r");
  // Eight tokens of the answer, then Ctrl-C.
  ASSERT_TRUE(t.until([](const std::string& s) { return s.find("no") != std::string::npos && s.size() > s.find("no") + 24; })) << t.screen;
  EXPECT_FALSE(t.is_raw());
  t.type("\x03");
  ASSERT_TRUE(t.shows("Stopped; the answer so far is kept.")) << t.screen;
  t.type("/set max_tokens 5\r");
  ASSERT_TRUE(t.shows("max_tokens 5")) << t.screen;
  t.type("given up");
  ASSERT_TRUE(t.until([](const std::string& s) { return s.find("given up") != std::string::npos; })) << t.screen;
  t.type("\x03");
  ASSERT_TRUE(t.shows("\n")) << t.screen;
  t.resize(40);
  t.type("\033[200~one\r\ntwo\r\033[201~");  // a paste; Enter is not part of it
  ASSERT_TRUE(t.until([](const std::string& s) { return s.find("two") != std::string::npos; })) << t.screen;
  t.type("\r");
  ASSERT_TRUE(t.shows("max_tokens, 5")) << t.screen;
  t.type("three \\\r");
  ASSERT_TRUE(t.until([](const std::string& s) { return s.find(". ") != std::string::npos; })) << t.screen;
  t.type("f\xc3\xbcr\033\rme\r");  // Alt-Enter within
  ASSERT_TRUE(t.shows("max_tokens, 5")) << t.screen;
  t.type("/save " + (scratch.path / "saved.json").string() + "\r");
  ASSERT_TRUE(t.shows("Saved 6 messages")) << t.screen;
  const std::string saved = slurp(scratch.path / "saved.json");
  EXPECT_NE(saved.find("\"content\": \"one\\ntwo\""), std::string::npos) << saved;
  EXPECT_NE(saved.find("\"content\": \"three \\nf\xc3\xbcr\\nme\""), std::string::npos) << saved;
  EXPECT_EQ(saved.find("given up"), std::string::npos) << saved;
  EXPECT_NE(t.screen.find("\033[32m"), std::string::npos) << "a prompt in colour";
  t.type("\x04");
  EXPECT_EQ(t.end(), 0);
  EXPECT_TRUE(t.is_as_before());
  EXPECT_NE(slurp(scratch.path / "history").find("one"), std::string::npos);

  Terminal again(chat(), {{"NO_COLOR", "1"}});  // what was typed last comes back
  ASSERT_TRUE(again.shows("Ctrl-D ends")) << again.screen;
  again.type("\033[A\033[A");
  ASSERT_TRUE(again.until([](const std::string& s) { return s.find("f\xc3\xbcr") != std::string::npos; })) << again.screen;
  again.type("\x03");
  ASSERT_TRUE(again.shows("\n")) << again.screen;
  again.type("\x03");
  EXPECT_EQ(again.end(), 0);
  EXPECT_EQ(again.screen.find("\033[32m"), std::string::npos);
  EXPECT_EQ(again.screen.find("\033[2m"), std::string::npos);
}

TEST_F(ChatInTerminal, SignalsLeaveTheTerminalAsItWas) {
  for (const int signal : {SIGTERM, SIGHUP, SIGABRT}) {
    Terminal t(chat(), {});
    ASSERT_TRUE(t.shows("Ctrl-D ends")) << t.screen;
    t.type("half a mess");
    ASSERT_TRUE(t.until([](const std::string& s) { return s.find("mess") != std::string::npos; })) << t.screen;
    ASSERT_TRUE(t.is_raw());
    t.send(signal);
    const int status = t.end();
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_TRUE(t.is_as_before()) << signal;
  }
  Terminal t(chat(), {});  // while it answers
  ASSERT_TRUE(t.shows("Ctrl-D ends")) << t.screen;
  t.type("no\r");
  ASSERT_TRUE(t.until([](const std::string& s) { return s.find("no") != std::string::npos && s.size() > s.find("no") + 24; })) << t.screen;
  t.send(SIGTERM);
  const int status = t.end();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  EXPECT_TRUE(t.is_as_before());
}

}  // namespace
}  // namespace ds::test
