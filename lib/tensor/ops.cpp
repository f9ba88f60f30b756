// The choice of the backend, for every operation that ops.h lists.
#define DS_OPS_BODIES
#include "tensor/tensor.h"

#ifndef DS_WITH_CUDA
#define DS_WITH_CUDA 0
#endif

#define DS_OP_CPU(name, first, params, args)            \
  namespace cpu { void name params; }                   \
  void name params {                                    \
    if ((first).device == Device::cuda) no_cuda(#name); \
    cpu::name args;                                     \
  }
#if DS_WITH_CUDA
#define DS_OP(name, first, params, args)                                 \
  namespace cpu { void name params; }                                    \
  namespace cuda { void name params; }                                   \
  void name params {                                                     \
    (first).device == Device::cuda ? cuda::name args : cpu::name args;   \
  }
#else
#define DS_OP DS_OP_CPU
#endif

#include "tensor/ops.h"
