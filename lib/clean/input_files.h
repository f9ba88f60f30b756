// What is read must not be replaced by something of another kind.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace ds {

// UsageError where `output`, which `option` names, is one of the inputs: such as a model in place of the records that
// it is learnt from. Devices and pipes may be both.
inline void keep_inputs(const std::vector<std::string>& inputs, const std::string& output, const char* option) {
  std::error_code absent;  // then they are not the same
  for (const std::string& input : inputs)
    if (std::filesystem::is_regular_file(input, absent) && std::filesystem::equivalent(input, output, absent))
      throw UsageError(cat(option, " would replace ", input, ", which is read; name another file"));
}

}  // namespace ds
