#include "tensor/cpu/dispatch.h"

#include <hwy/highway.h>

#include <cstdlib>

#include "base/error.h"

namespace ds::cpu {

// Better targets have lower bits, so the bits below a target's are those of wider ones.
void set_simd(std::string_view width) {
  hwy::DisableTargets(0);
  if (width.empty()) return;
#if HWY_ARCH_X86
  int64_t target = 0;
  if (width == "avx512") target = HWY_AVX3;
  if (width == "avx2") target = HWY_AVX2;
  require(target != 0, "vector width '", width, "' (DS_SIMD) is not known: avx2 or avx512");
#else
  const int64_t target = HWY_NEON;
  require(width == "neon", "vector width '", width, "' (DS_SIMD) is not known: neon");
#endif
  require((hwy::SupportedTargets() & target) != 0, "this processor has no ", width, ", which DS_SIMD asks for");
  hwy::DisableTargets(target - 1);
}

std::string_view simd_width() {
  apply_simd_environment();
#if HWY_ARCH_X86
  return hwy::SupportedTargets() & (HWY_AVX3 | (HWY_AVX3 - 1)) ? "avx512" : "avx2";
#else
  return "neon";
#endif
}

void apply_simd_environment() {
  static const bool done = [] {
    const char* const width = std::getenv("DS_SIMD");
    if (width) set_simd(width);
    return true;
  }();
  (void)done;
}

}  // namespace ds::cpu
