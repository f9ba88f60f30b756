// Chat templates against transformers: texts recorded from render_jinja_template for every construct, and what a
// hostile template may not do.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"

namespace ds {
namespace {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ds-chat-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

const Json& cases() {
  static const Json json = parse_json_file(DS_SOURCE_DIR "/tests/text/data/chat_template_cases.json");
  return json;
}

Json one_message() { return parse_json(R"([{"role": "user", "content": "Hi"}])", "messages"); }

std::string rendered(const std::string& source, const Json& messages = one_message(), const ChatContext& context = {}) {
  try {
    return ChatTemplate::parse(source, "t.jinja").render(messages, context);
  } catch (const Error& error) {
    return std::string("ERROR ") + error.what();
  }
}

ChatContext case_context() {
  ChatContext context;
  context.bos_token = "<s>";
  context.eos_token = "</s>";
  context.add_generation_prompt = true;
  context.variables = cases().find("variables");
  return context;
}

TEST(ChatTemplate, AgreesWithTransformersOnEveryConstruct) {
  setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
  const ChatContext context = case_context();
  size_t texts = 0, errors = 0;
  for (const Json& item : cases().find("cases")->items) {
    const std::string& source = item.find("template")->text;
    const std::string got = rendered(source, *cases().find("messages"), context);
    if (const Json* const text = item.find("text")) {
      EXPECT_EQ(got, text->text) << source;
      ++texts;
    } else {
      EXPECT_TRUE(got.starts_with("ERROR t.jinja:")) << source << " gave " << got;
      EXPECT_NE(got.find(item.find("error")->text), std::string::npos) << source << " gave " << got;
      ++errors;
    }
  }
  unsetenv("SOURCE_DATE_EPOCH");
  EXPECT_GT(texts, 600u);
  EXPECT_GT(errors, 100u);
}

TEST(ChatTemplate, MessagesAreAsTransformersHandsThemOver) {
  const Json messages =
      parse_json(R"([{"role": "a", "content": null, "reasoning": "r"}, {"thinking": "t", "role": "b"}])", "m");
  EXPECT_EQ(rendered("{{ messages }}", messages),
            "[{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}, "
            "{'thinking': 't', 'role': 'b', 'reasoning_content': 't'}]");
}

TEST(ChatTemplate, VariablesAndTools) {
  const Json variables = parse_json(R"({"bos_token": "B", "x": 1, "documents": [1], "add_generation_prompt": 5})", "v");
  const Json tools = parse_json(R"([{"name": "f"}])", "t");
  ChatContext context;
  context.bos_token = "<s>";
  context.variables = &variables;
  EXPECT_EQ(
      rendered("{{ bos_token }}{{ x }}{{ documents }}{{ add_generation_prompt }}{{ tools }}{{ pad_token is defined }}",
               one_message(), context),
      "B1[1]FalseNoneFalse");
  context.tools = &tools;
  EXPECT_EQ(rendered("{{ tools[0].name }}", one_message(), context), "f");
}

TEST(ChatTemplate, ErrorsNameLineAndConstruct) {
  EXPECT_EQ(rendered("a\n\n{% include 'x' %}"), "ERROR t.jinja:3: the statement 'include' is not supported");
  EXPECT_EQ(rendered("\n{{ 1 | xmlattr }}"), "ERROR t.jinja:2: the filter 'xmlattr' is not supported");
  EXPECT_EQ(rendered("{{ 1 | nope }}"), "ERROR t.jinja:1: there is no filter 'nope'");
  EXPECT_EQ(rendered("{% if true %}\n"), "ERROR t.jinja:1: expected 'endif', found the end of the template");
  EXPECT_EQ(rendered("{# \n #}\n{{ messages[0].content.nope() }}"),
            "ERROR t.jinja:3: 'str object' has no attribute 'nope'");
  EXPECT_EQ(rendered("\n{{ raise_exception('Roles must alternate') }}"), "ERROR t.jinja:2: Roles must alternate");
  EXPECT_EQ(rendered("{{ 'a'.encode() }}"), "ERROR t.jinja:1: this method of str is not supported");
  EXPECT_EQ(rendered("\xff"), "ERROR t.jinja: the chat template is not UTF-8");
  EXPECT_EQ(rendered("{{ 1 }}", parse_json("{}", "m")), "ERROR t.jinja:1: messages must be an array");
}

std::string times(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

// Each would take hours, or more memory than there is, or the stack.
TEST(ChatTemplate, HostileTemplatesAreErrors) {
  const std::string start = "{% set ns = namespace(s='a', l=[1], g=[1]) %}{% for i in range(100000) %}";
  const std::vector<std::string> sources = {
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      start + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      start + "{% set ns.l = ns.l + ns.l %}{% endfor %}",
      start + "{% set ns.l = [ns.l] %}{% endfor %}",
      start + "{% set ns.g = ns.g | map('string') %}{% endfor %}{{ ns.g | list }}",
      start + "{{ 'a' * 10000 }}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson "
      "}}",
      "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}" + times("{% if 1 %}", 150) + "{{ m() }}" + times("{% endif %}", 150) +
          "{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ " + times("(", 100000),
      "{{ " + times("[", 100000),
      "{{ " + times("not ", 100000) + "1 }}",
      "{{ " + times("-", 100000) + "1 }}",
      "{{ a" + times(".a", 100000) + " }}",
      "{{ 1" + times("+1", 100000) + " }}",
      "{{ 1" + times(" if 1 else 1", 80000) + " }}",
      times("{% if 1 %}", 100000),
      "{% for " + times("(", 100000),
      "{{ 'a' * 10 ** 12 }}",
      "{{ 'a'.ljust(10 ** 12) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ strftime_now('%1000000000d') }}",
      "{{ range(10 ** 9) }}",
      "{{ 2 ** 64 }}",
      "{{ 99999999999999999999 }}",
      "{{ ('a' * 60000000) | list | length }}",
      "{{ ('a,' * 10000000).split(',') | length }}",
      "{{ ('<' * 60000000) | e }}",
      "{{ range(100000) | unique | list }}"};
  for (const std::string& source : sources)
    EXPECT_TRUE(rendered(source).starts_with("ERROR t.jinja:")) << source.substr(0, 200);
}

TEST(ChatTemplate, ValuesThatHoldThemselvesAreReleased) {  // the sanitizers look for what is left
  EXPECT_EQ(
      rendered("{% set ns = namespace() %}{% set ns.me = [ns] %}{% macro m() %}{% endmacro %}{% set ns.m = m %}"
               "{% for x in [1] %}{% set ns.loop = loop %}{% macro k() %}{{ x }}{% endmacro %}{{ k() }}{% endfor %}"),
      "1");
}

TEST(ChatTemplate, RendersOnManyThreads) {
  const ChatTemplate made = ChatTemplate::parse(
      "{% macro m(x) %}<{{ x | upper }}>{% endmacro %}{% for c in messages[0].content %}{{ m(c) }}{{ 'k' ~ loop.index "
      "}}{% endfor %}",
      "t");
  const std::string expected = made.render(one_message(), {});
  EXPECT_EQ(expected, "<H>k1<I>k2");
  std::vector<std::thread> threads;
  std::vector<int> same(4);
  for (size_t t = 0; t < same.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) same[t] += made.render(one_message(), {}) == expected;
    });
  for (auto& thread : threads) thread.join();
  for (const int count : same) EXPECT_EQ(count, 200);
}

std::string loaded(const Folder& folder, const ChatContext& context = {}) {
  try {
    const auto made = ChatTemplate::load(folder.path.string());
    return made == nullptr ? "none" : made->render(one_message(), context);
  } catch (const Error& error) {
    const std::string what = error.what(), place = folder.path.string();
    return what.starts_with(place) ? what.substr(place.size()) : what;
  }
}

TEST(ChatTemplate, ComesFromTheFilesOfAModel) {
  const Folder folder;
  EXPECT_EQ(loaded(folder), "none");
  folder.put("tokenizer_config.json", R"({"model_max_length": 5})");
  EXPECT_EQ(loaded(folder), "none");
  folder.put("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(loaded(folder), "json");
  folder.put("tokenizer_config.json", R"({"chat_template": "config {{ nope() }}"})");
  EXPECT_EQ(loaded(folder), "/tokenizer_config.json: chat_template:1: 'nope' is undefined");
  folder.put("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "rag"}]})");
  EXPECT_EQ(loaded(folder), "/tokenizer_config.json: chat_template: no template is named \"default\"");
  folder.put(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools|length }}"}]})");
  EXPECT_EQ(loaded(folder), "plain");
  const Json tools = parse_json(R"([{}, {}])", "tools");
  ChatContext with_tools;
  with_tools.tools = &tools;
  EXPECT_EQ(loaded(folder, with_tools), "2");
  folder.put("chat_template.jinja", "jinja\n");
  EXPECT_EQ(loaded(folder), "jinja");
  EXPECT_EQ(loaded(folder, with_tools), "jinja");
  folder.put("additional_chat_templates/tool_use.jinja", "with tools");
  EXPECT_EQ(loaded(folder, with_tools), "with tools");
}

TEST(ChatTemplate, SpecialTokensOfAFolder) {
  const Folder folder;
  EXPECT_EQ(load_chat_context(folder.path.string()).bos_token, "");
  folder.put("special_tokens_map.json", R"({"bos_token": "<m>", "unk_token": {"content": "<unk>"}})");
  folder.put("tokenizer_config.json",
             R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null})");
  const ChatContext context = load_chat_context(folder.path.string());
  EXPECT_EQ(context.bos_token, "<s>");
  EXPECT_EQ(context.eos_token, "</s>");
  EXPECT_EQ(context.pad_token, "");
  EXPECT_EQ(context.unk_token, "<unk>");
}

// The smallest file that has what a chat needs.
TEST(ChatTemplate, ComesFromAGguf) {
  std::string bytes = "GGUF";
  const auto number = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  const auto string = [&](const std::string& text) {
    number(uint64_t{text.size()});
    bytes += text;
  };
  number(uint32_t{3}), number(uint64_t{0}), number(uint64_t{4});
  string("tokenizer.chat_template"), number(uint32_t{8}), string("{{ bos_token }}{{ messages[0].content }}");
  string("tokenizer.ggml.tokens"), number(uint32_t{9}), number(uint32_t{8}), number(uint64_t{2}), string("<a>"),
      string("<b>");
  string("tokenizer.ggml.bos_token_id"), number(uint32_t{4}), number(uint32_t{1});
  string("tokenizer.ggml.eos_token_id"), number(uint32_t{4}), number(uint32_t{0});
  const Folder folder;
  folder.put("m.gguf", bytes);
  const std::string path = (folder.path / "m.gguf").string();
  const ChatContext context = load_chat_context(path);
  EXPECT_EQ(context.eos_token, "<a>");
  EXPECT_EQ(ChatTemplate::load(path)->render(one_message(), context), "<b>Hi");
}

}  // namespace
}  // namespace ds
