#include "tensor/cpu/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/dispatch.cpp"
#include <hwy/foreach_target.h>
// Highway's headers come after foreach_target.h.
#include <hwy/highway.h>

#include <cstdlib>

#include "base/error.h"

HWY_BEFORE_NAMESPACE();
namespace ds::cpu::HWY_NAMESPACE {

// Asked of the kernels themselves, so that the answer is what runs, not what was meant to.
const char* width_name() {
#if HWY_ARCH_X86
  return HWY_TARGET <= HWY_AVX3 ? "avx512" : HWY_TARGET == HWY_AVX2 ? "avx2" : "sse";
#else
  return "neon";
#endif
}

}  // namespace ds::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ds::cpu {
HWY_EXPORT(width_name);

// SupportedTargets() of Highway 1.0 also chooses, and what it chooses ignores DisableTargets: choose again.
static int64_t choose() {
  const int64_t targets = hwy::SupportedTargets();
  hwy::GetChosenTarget().Update(targets);
  return targets;
}

// Better targets have lower bits, so the bits below a target's are those of wider ones.
void set_simd(std::string_view width) {
  hwy::DisableTargets(0);
  const int64_t available = choose();
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
  require((available & target) != 0, "this processor has no ", width, ", which DS_SIMD asks for");
  hwy::DisableTargets(target - 1);
  choose();
}

std::string_view simd_width() { return DS_SIMD_DISPATCH(width_name)(); }

void apply_simd_environment() {
  static const bool done = [] {
    // Without a choice, each call of a kernel would ask the processor what it is, which takes longer than many a kernel.
    const char* const width = std::getenv("DS_SIMD");
    set_simd(width ? width : "");
    return true;
  }();
  (void)done;
}

}  // namespace ds::cpu
#endif
