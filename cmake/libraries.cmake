# Third-party libraries, each in the one room that wraps it (headers of other rooms never see them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(TBB REQUIRED)

# Highway: kernels are compiled for AVX2 (the baseline, whose x86-64-v3 lacks the AES instructions that Highway would ask
# for) and AVX-512; on ARM for NEON only, whose 16 bytes are fixed.
add_compile_definitions(HWY_DISABLE_PCLMUL_AES)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  add_compile_definitions("HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()

function(ds_pkg target module)
  pkg_check_modules(${target} REQUIRED IMPORTED_TARGET ${module})
endfunction()

ds_pkg(xxhash libxxhash)
ds_pkg(zstd libzstd)
ds_pkg(zlib zlib)
ds_pkg(simdjson simdjson)
ds_pkg(tomlplusplus tomlplusplus)
ds_pkg(hwy libhwy)
ds_pkg(pcre2 libpcre2-8)
ds_pkg(utf8proc libutf8proc)
ds_pkg(re2 re2)
ds_pkg(fasttext fasttext)
ds_pkg(httplib cpp-httplib)
ds_pkg(openssl openssl)
ds_pkg(prometheus prometheus-cpp-core)
ds_pkg(edit libedit)
find_library(CLD2_LIBRARY cld2 REQUIRED)

ds_links(base TBB::tbb Threads::Threads PkgConfig::xxhash)
ds_links(io PkgConfig::zstd PkgConfig::zlib PkgConfig::simdjson PkgConfig::tomlplusplus PkgConfig::hwy)
ds_links(tensor PkgConfig::hwy)
ds_links(text PkgConfig::hwy PkgConfig::pcre2 PkgConfig::utf8proc PkgConfig::re2 PkgConfig::fasttext ${CLD2_LIBRARY})
# As needed: the other tools link the room for its engine, and would load these libraries at every start.
ds_links(run "-Wl,--as-needed" PkgConfig::httplib PkgConfig::openssl PkgConfig::prometheus PkgConfig::edit)

# The processor check must run on the processors that it refuses.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(lib/cli/cpu.cpp PROPERTIES COMPILE_OPTIONS "-march=x86-64")
endif()

if(TARGET ds_augment)
  find_package(OpenMP REQUIRED)
  find_library(FAISS_LIBRARY faiss REQUIRED)
  find_library(OPENBLAS_LIBRARY openblas REQUIRED)
  ds_links(augment ${FAISS_LIBRARY} ${OPENBLAS_LIBRARY} OpenMP::OpenMP_CXX)
endif()
