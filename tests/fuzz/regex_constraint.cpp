// Fuzz target: any bytes as a regular expression that constrains an answer.
#include "fuzz_constraint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz_constraint(ds::ConstraintSpec::Kind::regex, data, size);
}
