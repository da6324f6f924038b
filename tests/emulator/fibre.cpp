#include "tests/emulator/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define BRANCHSAE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BRANCHSAE_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef BRANCHSAE_ADDRESS_SANITIZER
#define BRANCHSAE_ADDRESS_SANITIZER 0
#endif
#if BRANCHSAE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if BRANCHSAE_FIBRES_BY_HAND
extern "C" {
/// Saves what a function call must keep on the running stack, stores that stack's pointer at *from and goes
/// on where the stack `to` was left.
void branchsae_switch_stacks(void** from, void* to);
void branchsae_start_fibre();
}
asm(R"(
.text
.globl branchsae_switch_stacks
.hidden branchsae_switch_stacks
.type branchsae_switch_stacks, @function
branchsae_switch_stacks:
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
  popq %rcx
  jmpq *%rcx
.size branchsae_switch_stacks, .-branchsae_switch_stacks

.globl branchsae_start_fibre
.hidden branchsae_start_fibre
.type branchsae_start_fibre, @function
branchsae_start_fibre:
  movq %r13, %rdi
  xorl %ebp, %ebp
  callq *%r12
  ud2
.size branchsae_start_fibre, .-branchsae_start_fibre
)");
#endif

namespace branchsae::emulator {

void Fibre::prepare(std::byte* stack, std::size_t stack_bytes, Entry entry, void* argument) {
#if BRANCHSAE_ADDRESS_SANITIZER
  // Whatever ran here before was left in the middle, so its frames were never given up.
  __asan_unpoison_memory_region(stack, stack_bytes);
#endif
  stack_ = stack;
  stack_bytes_ = stack_bytes;
  fake_stack_ = nullptr;
#if BRANCHSAE_FIBRES_BY_HAND
  // As branchsae_switch_stacks leaves a stack: r15, r14, r13, r12, rbx, rbp, where to go on. The stack must
  // be a multiple of 16 before the call in branchsae_start_fibre.
  auto* top = reinterpret_cast<void**>(stack + stack_bytes) - 9;
  top[0] = top[1] = top[4] = top[5] = nullptr;
  top[2] = argument;
  top[3] = reinterpret_cast<void*>(entry);
  top[6] = reinterpret_cast<void*>(branchsae_start_fibre);
  top[7] = top[8] = nullptr;
  stack_pointer_ = top;
#else
  entry_ = entry;
  argument_ = argument;
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = stack_bytes;
  context_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&context_, reinterpret_cast<void (*)()>(&Fibre::start), 2, static_cast<unsigned>(self >> 32),
              static_cast<unsigned>(self));
#endif
}

#if !BRANCHSAE_FIBRES_BY_HAND
void Fibre::start(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fibre*>(static_cast<uintptr_t>(high) << 32 | low);
  self->entry_(self->argument_);
}
#endif

#if BRANCHSAE_ADDRESS_SANITIZER
namespace {
Fibre* left = nullptr;  // by the switch that is going on
}
#endif

void Fibre::switch_to(Fibre& from, Fibre& to) {
#if BRANCHSAE_ADDRESS_SANITIZER
  left = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_, to.stack_bytes_);
#endif
#if BRANCHSAE_FIBRES_BY_HAND
  branchsae_switch_stacks(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
  arrived(from);
}

void Fibre::arrived([[maybe_unused]] Fibre& self) {
#if BRANCHSAE_ADDRESS_SANITIZER
  // The host's own stack becomes known when something first leaves it.
  __sanitizer_finish_switch_fiber(self.fake_stack_, &left->stack_, &left->stack_bytes_);
#endif
}

namespace {
constexpr std::size_t kStackBytes = BRANCHSAE_ADDRESS_SANITIZER ? 256 * 1024 : 64 * 1024;
std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}
}  // namespace

std::size_t FibreStacks::bytes() {
  return kStackBytes;
}

std::byte* FibreStacks::get(std::size_t index) {
  while (mappings_.size() <= index) {
    void* memory = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, page_bytes(), PROT_NONE);
    mappings_.push_back(static_cast<std::byte*>(memory));
  }
  return mappings_[index] + page_bytes();
}

FibreStacks::~FibreStacks() {
  for (std::byte* memory : mappings_) munmap(memory, kStackBytes + page_bytes());
}

}  // namespace branchsae::emulator
