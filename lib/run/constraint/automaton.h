// What every kind of constraint is compiled to: a nondeterministic automaton over bytes with a stack of frames.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ds::constrain {

// What a frame may turn into: frames that take its place, the lowest first; none: it is done.
struct Moves {
  std::vector<std::vector<std::string>> list;
  bool unknown = false;  // of a frame made by outline(): the frame it stands for has to be asked
  void add() { list.emplace_back(); }
  void add(std::string frame) { list.emplace_back().push_back(std::move(frame)); }
  void add(std::string below, std::string above) {
    auto& frames = list.emplace_back();
    frames.push_back(std::move(below));
    frames.push_back(std::move(above));
  }
};

// A frame is bytes that mean something to its automaton alone, and equal frames are equal bytes. Frames that can lead to
// no accepted text are never made, whatever lies below them: that is what keeps answers out of dead ends.
// Const functions may be called by one thread at a time.
class Automaton {
 public:
  virtual ~Automaton() = default;
  // The first frames. `exact`: for texts that are given, in every spelling; else for an answer in the making.
  virtual Moves start(bool exact) const = 0;
  // After reading a byte.
  virtual void read(std::string_view frame, uint8_t byte, Moves& moves) const = 0;
  // Without reading one.
  virtual void expand(std::string_view frame, Moves& moves) const = 0;
  // Whether a frame reads any byte.
  virtual bool reads(std::string_view frame) const = 0;
  // A frame that reads the same texts of up to `longest` bytes but for those that begin with one of refused(frame), or says
  // that it does not know, and that is the same for many frames: masks are kept for it.
  virtual std::string outline(std::string_view frame, size_t longest) const { return (void)longest, std::string(frame); }
  virtual std::vector<std::string> refused(std::string_view frame) const { return (void)frame, std::vector<std::string>{}; }
};

// Kinds of constraints. `name` begins messages.
std::unique_ptr<Automaton> regex_automaton(std::string_view pattern);
std::unique_ptr<Automaton> choice_automaton(std::string_view json);
std::unique_ptr<Automaton> grammar_automaton(std::string_view grammar);
std::unique_ptr<Automaton> schema_automaton(std::string_view json);
std::unique_ptr<Automaton> brackets_automaton();
std::unique_ptr<Automaton> python_automaton();

}  // namespace ds::constrain
