// Fuzz target: any bytes as a chat template render a conversation, or are an Error.
#include "text/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ds::Json messages = ds::parse_json(
      R"([{"role": "system", "content": "S \u00e9"}, {"role": "user", "content": [{"type": "text", "text": "a\nb"}]},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5, null, true]}}}]}])",
      "messages");
  static const ds::Json tools = ds::parse_json(R"([{"function": {"name": "f", "parameters": {"type": "object"}}}])", "tools");
  try {
    const auto made = ds::ChatTemplate::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    ds::ChatContext context;
    context.bos_token = "<s>";
    context.add_generation_prompt = true;
    context.tools = &tools;
    made.render(messages, context);
  } catch (const ds::Error&) {
  }
  return 0;
}
