// Which vector width the CPU kernels run at. The widest that the processor has, unless the environment variable DS_SIMD
// (avx2 or avx512) forces one; results are the same bytes at any width.
#pragma once
#include <string_view>

namespace ds::cpu {

// Forces a width: "avx2" or "avx512" (x86), "neon" (Arm), or "" for the widest. An unknown one, or one that this
// processor lacks, is an Error. Not to be called while kernels run.
void set_simd(std::string_view width);

// The width in use: "avx512", "avx2" or "neon".
std::string_view simd_width();

// Obeys DS_SIMD, once; each operation calls it (through DS_SIMD_DISPATCH) before it picks its kernel.
void apply_simd_environment();

}  // namespace ds::cpu

// HWY_DYNAMIC_DISPATCH(kernel) after DS_SIMD was obeyed.
#define DS_SIMD_DISPATCH(kernel) (::ds::cpu::apply_simd_environment(), HWY_DYNAMIC_DISPATCH(kernel))
