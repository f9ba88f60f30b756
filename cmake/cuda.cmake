# The CUDA backend is built where nvcc is found. nvcc may be installed and not on the PATH, and
# enable_language(CUDA) ends the configuration where it is missing, so look for it first.
set(DS_HAVE_CUDA OFF)
if(NOT DS_CUDA STREQUAL "OFF")
  find_program(DS_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(DS_NVCC)
    set(DS_HAVE_CUDA ON)
  elseif(DS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DS_CUDA=ON, but nvcc was not found on the PATH or in /usr/local/cuda/bin")
  endif()
endif()
message(STATUS "CUDA backend: ${DS_HAVE_CUDA}")
