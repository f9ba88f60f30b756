// Fuzz target: any bytes as a JSON schema that constrains an answer.
#include "fuzz_constraint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fuzz_constraint(ds::ConstraintSpec::Kind::json_schema, data, size);
}
