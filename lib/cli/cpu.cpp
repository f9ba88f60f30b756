// All other code is compiled for x86-64-v3 (AVX2). This file is compiled for any x86-64 and runs before everything
// else, so that an older processor gets a sentence and not an illegal instruction. No C++ header here: their inline
// functions could be the AVX2 copies of other files.
#if defined(__x86_64__)
extern "C" long write(int, const void*, unsigned long);
extern "C" void _exit(int) __attribute__((noreturn));

__attribute__((constructor(101))) static void check_processor() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return;
  static const char message[] =
      "ds: error: this processor lacks AVX2, FMA or BMI2, which this build needs (x86-64-v3)\n";
  if (write(2, message, sizeof message - 1) < 0) _exit(1);
  _exit(1);
}
#endif

// Called by App, so that the linker takes this file out of the library.
extern "C" void ds_link_processor_check() {}
