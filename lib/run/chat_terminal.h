// The keyboard of a conversation: a message with line editing, history and pasted lines (libedit), and Ctrl-C as an event.
// However the program ends, the terminal is left as it was.
#pragma once
#include <memory>
#include <optional>
#include <string>

namespace ds {

// One at a time: it takes over SIGINT, and while a message is typed the signals that end or suspend the program too.
class ChatTerminal {
 public:
  // Standard input and output are terminals. What was typed is kept in the file `history`, where one is named.
  ChatTerminal(const std::string& history, bool colour);
  ~ChatTerminal();
  // A message: lines that end in a backslash go on; a paste is one message whatever lines it has. Nothing after Ctrl-D, or
  // Ctrl-C where nothing is typed (else it starts again). Stopped after SIGTERM and the like.
  std::optional<std::string> read();
  // Whether Ctrl-C was pressed since the last call, or since a message was read.
  bool take_interrupt();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds
