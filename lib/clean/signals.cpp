#include "clean/signals.h"

namespace ds {

std::optional<Signal> find_signal(std::string_view name) {
  for (size_t i = 0; i < signal_count; ++i)
    if (name == signal_table[i].name) return static_cast<Signal>(i);
  return std::nullopt;
}

}  // namespace ds
