// The text of an answer on its way out: it ends before the first stop string, and nothing of one is ever let out.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace ds {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);
  // Adds text, and appends to `out` what can be told apart from the beginning of a stop string. True: one was found; `out`
  // has all before it, and nothing may be added any more.
  bool add(std::string_view text, std::string& out);
  // The end of the answer: what was held back.
  void finish(std::string& out);

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace ds
