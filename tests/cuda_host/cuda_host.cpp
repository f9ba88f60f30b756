#include "cuda_host.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_host {

namespace {

constexpr size_t kStack = 64 * 1024, kPage = 4096;
constexpr unsigned char kPoison = 0xFF;  // NaN as float, -1 as an integer
constexpr unsigned kWarp = 32;

enum class State : uint8_t { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  char* stack = nullptr;
  State state = State::done;
  unsigned linear = 0;
  uint3 index{};
};

struct Warp {
  // Two sets of slots in turn: a lane may publish its next value while a slower one still reads the last.
  alignas(16) unsigned char slots[2][kWarp][32];
  unsigned arrived = 0, mask = 0, live = 0, generation = 0;
};

struct Machine {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned> order;
  Fiber scheduler, *current = nullptr;
  uint3 block{};
  dim3 block_dim, grid_dim;
  unsigned threads = 0, live = 0, at_barrier = 0;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  const std::function<void()>* body = nullptr;
  const char* kernel = "";
  unsigned order_number = 0;
  uint64_t switches = 0;
};

Machine machine;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "cuda_host: %s: %s: block (%u,%u,%u) thread %u; states of the threads: ", machine.kernel, what, machine.block.x,
               machine.block.y, machine.block.z, machine.current ? machine.current->linear : 0u);
  for (unsigned i = 0; i < machine.threads && i < 64; ++i) std::fputc("RBWD"[static_cast<int>(machine.fibers[i].state)], stderr);
  std::fputc('\n', stderr);
  std::abort();
}

}  // namespace

// ---- Switching stacks ----

#if defined(__x86_64__)
// Saves the callee-saved registers of the System V ABI on one stack and takes them from another: 20 times faster than
// swapcontext, which also saves the signal mask with a system call.
extern "C" void cuda_host_switch(void** save, void* load);
asm(R"(
.text
.type cuda_host_switch,@function
cuda_host_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_host_switch,.-cuda_host_switch
)");
#endif

static void switch_to(Fiber& from, Fiber& to) {
  ++machine.switches;
  machine.current = &to;
#if defined(__x86_64__)
  cuda_host_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
}

static void fiber_main() {
  (*machine.body)();
  Fiber& self = *machine.current;
  self.state = State::done;
  --machine.live;
  machine.warps[self.linear / kWarp].live &= ~(1u << self.linear % kWarp);
  switch_to(self, machine.scheduler);
  std::abort();  // a finished fiber is never resumed
}

static void prepare(Fiber& fiber) {
  if (!fiber.stack) {
    void* const memory = mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) die("no memory for a thread's stack");
    fiber.stack = static_cast<char*>(memory) + kPage;
  }
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(fiber.stack + kStack);
  *--top = nullptr;  // keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
#endif
  fiber.state = State::ready;
}

// ---- A block ----

static void check_shared_canary() {
  for (size_t i = machine.shared_bytes; i < machine.shared_bytes + kPage; ++i)
    if (machine.shared[i] != kPoison) die("a write past the shared memory of the launch");
}

static void release_block_barrier() {
  if (machine.live != machine.threads) die("__syncthreads after some threads of the block have returned");
  machine.at_barrier = 0;
  for (unsigned i = 0; i < machine.threads; ++i)
    if (machine.fibers[i].state == State::at_block_barrier) machine.fibers[i].state = State::ready;
}

static void run_block() {
  Machine& m = machine;
  m.live = m.threads;
  m.at_barrier = 0;
  for (size_t w = 0; w < m.warps.size(); ++w) {
    const unsigned lanes = m.threads - static_cast<unsigned>(w) * kWarp;
    m.warps[w].live = lanes >= kWarp ? ~0u : (1u << lanes) - 1;
    m.warps[w].arrived = 0;
  }
  for (unsigned i = 0; i < m.threads; ++i) {
    m.fibers[i].linear = i;
    m.fibers[i].index = {i % m.block_dim.x, i / m.block_dim.x % m.block_dim.y, i / (m.block_dim.x * m.block_dim.y)};
    prepare(m.fibers[i]);
  }
  std::memset(m.shared, kPoison, m.shared_bytes + kPage);
  while (m.live > 0) {
    bool moved = false;
    for (const unsigned i : m.order)
      if (m.fibers[i].state == State::ready) {
        moved = true;
        switch_to(m.scheduler, m.fibers[i]);
      }
    if (m.live > 0 && m.at_barrier == m.live) {
      release_block_barrier();
      moved = true;
    }
    if (!moved && m.live > 0) die("deadlock: a barrier that not all threads reach, or a warp mask naming a lane that never comes");
  }
  check_shared_canary();
}

static void make_order() {
  machine.order.resize(machine.threads);
  std::iota(machine.order.begin(), machine.order.end(), 0u);
  if (machine.order_number == 1) {
    for (unsigned i = 0; i < machine.threads; ++i) machine.order[i] = machine.threads - 1 - i;
  } else if (machine.order_number > 1) {
    uint64_t random = machine.order_number;
    for (unsigned i = machine.threads; i > 1; --i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      std::swap(machine.order[i - 1], machine.order[(random >> 33) % i]);
    }
  }
}

void run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  Machine& m = machine;
  m.kernel = kernel;
  m.body = &body;
  m.block_dim = block;
  m.grid_dim = grid;
  m.threads = block.x * block.y * block.z;
  m.current = nullptr;
  if (m.threads == 0 || m.threads > 1024) die("a block has 1 to 1024 threads");
  if (shared_bytes > 227 * 1024) die("more shared memory than a block can have (227 KiB)");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) die("a grid dimension is 0 or too large");
  if (m.fibers.size() < m.threads) m.fibers.resize(m.threads);
  m.warps.resize((m.threads + kWarp - 1) / kWarp);
  make_order();
  // The launch's bytes, a page that must stay poisoned, and a page that faults.
  const size_t data = (shared_bytes + kPage - 1) / kPage * kPage + kPage;
  auto* const memory = static_cast<unsigned char*>(mmap(nullptr, data + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED || mprotect(memory + data, kPage, PROT_NONE) != 0) die("no memory for shared memory");
  m.shared = memory;
  m.shared_bytes = shared_bytes;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        m.block = {x, y, z};
        run_block();
      }
  munmap(memory, data + kPage);
  m.shared = nullptr;
  m.current = nullptr;
}

// ---- What a thread asks ----

void set_order(unsigned order) { machine.order_number = order; }
uint64_t switches() { return machine.switches; }
uint3 thread_index() { return machine.current->index; }
uint3 block_index() { return machine.block; }
dim3 block_size() { return machine.block_dim; }
dim3 grid_size() { return machine.grid_dim; }
void* shared_memory() { return machine.shared; }
unsigned lane_index() { return machine.current->linear % kWarp; }

void block_barrier() {
  machine.current->state = State::at_block_barrier;
  ++machine.at_barrier;
  switch_to(*machine.current, machine.scheduler);
}

const void* WarpValues::lane(unsigned index) const { return static_cast<const unsigned char*>(slots) + index * 32; }

WarpValues warp_exchange(unsigned mask, const void* bytes, size_t size) {
  Fiber& self = *machine.current;
  Warp& warp = machine.warps[self.linear / kWarp];
  const unsigned lane = self.linear % kWarp, me = 1u << lane;
  if (size > 32) die("a warp exchange carries at most 32 bytes");
  if (!(mask & me)) die("a warp operation whose mask leaves out the calling lane");
  if (mask & ~warp.live) die("a warp mask names a lane that has returned or does not exist");
  if (warp.arrived && warp.mask != mask) die("lanes of a warp used different masks");
  auto* const slots = warp.slots[warp.generation % 2];
  std::memcpy(slots[lane], bytes, size);
  warp.mask = mask;
  warp.arrived |= me;
  if (warp.arrived == mask) {
    warp.arrived = 0;
    ++warp.generation;
    const unsigned first = self.linear - lane;
    for (unsigned i = 0; i < kWarp; ++i)
      if (mask >> i & 1 && machine.fibers[first + i].state == State::at_warp_barrier) machine.fibers[first + i].state = State::ready;
  } else {
    self.state = State::at_warp_barrier;
    switch_to(self, machine.scheduler);
  }
  return {slots};
}

// ---- Device memory ----

namespace {

constexpr size_t kGuard = 256;  // poisoned bytes on both sides of an allocation
std::map<const unsigned char*, size_t>& allocations() {
  static std::map<const unsigned char*, size_t> map;
  return map;
}

bool on_device(const void* p, size_t bytes) {
  const auto* const at = static_cast<const unsigned char*>(p);
  auto after = allocations().upper_bound(at);
  if (after == allocations().begin()) return false;
  --after;
  return at >= after->first && at + bytes <= after->first + after->second;
}

}  // namespace

void check_device_pointer(const char* kernel, const void* p) {
  if (p == nullptr || on_device(p, 1)) return;
  machine.kernel = kernel;
  machine.threads = 0;
  die("a pointer argument does not point into device memory");
}

size_t live_allocations() { return allocations().size(); }

}  // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  auto* const memory = static_cast<unsigned char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 2 * kGuard));
  if (!memory) return 2;
  std::memset(memory, kPoison, (bytes + 255) / 256 * 256 + 2 * kGuard);
  allocations()[memory + kGuard] = bytes;
  *pointer = memory + kGuard;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  auto* const at = static_cast<unsigned char*>(pointer);
  const auto found = allocations().find(at);
  if (found == allocations().end()) return 1;
  for (size_t i = 0; i < kGuard; ++i)
    if (at[-static_cast<ptrdiff_t>(i) - 1] != kPoison || at[found->second + i] != kPoison) {
      std::fprintf(stderr, "cuda_host: a write outside a device allocation of %zu bytes\n", found->second);
      std::abort();
    }
  std::free(at - kGuard);
  allocations().erase(found);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  if (bytes && !on_device(pointer, bytes)) return 1;
  std::memset(pointer, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes && (on_device(to, bytes) != to_device || on_device(from, bytes) != from_device)) return 1;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return error == 2 ? "out of memory" : error ? "invalid value" : "no error"; }

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = &machine;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSgemm(cublasHandle_t, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, const float* alpha,
                           const float* a, int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
  // The leading dimensions must hold a column, as the library checks.
  if (m < 0 || n < 0 || k < 0 || lda < std::max(1, transa == CUBLAS_OP_N ? m : k) || ldb < std::max(1, transb == CUBLAS_OP_N ? k : n) ||
      ldc < std::max(1, m))
    return 7;
  for (const void* const p : {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(c)})
    check_device_pointer("cublasSgemm", p);
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i) {
      double sum = 0;
      for (int l = 0; l < k; ++l) {
        const float x = transa == CUBLAS_OP_N ? a[i + static_cast<ptrdiff_t>(l) * lda] : a[l + static_cast<ptrdiff_t>(i) * lda];
        const float y = transb == CUBLAS_OP_N ? b[l + static_cast<ptrdiff_t>(j) * ldb] : b[j + static_cast<ptrdiff_t>(l) * ldb];
        sum += static_cast<double>(x) * y;
      }
      float& out = c[i + static_cast<ptrdiff_t>(j) * ldc];
      out = static_cast<float>(*alpha * sum + (*beta == 0 ? 0.0 : static_cast<double>(*beta) * out));
    }
  return CUBLAS_STATUS_SUCCESS;
}
