#pragma once
/// Functions that can stop in the middle: each has its own stack, and a switch goes from one to another of
/// the same host thread. On x86-64 a switch saves six registers by hand; elsewhere it takes ucontext's detour
/// through the kernel.
#include <cstddef>
#include <memory>
#include <vector>

#if !defined(__x86_64__) || defined(BRANCHSAE_UCONTEXT_FIBRES)
#define BRANCHSAE_FIBRES_BY_HAND 0
#include <ucontext.h>
#else
#define BRANCHSAE_FIBRES_BY_HAND 1
#endif

namespace branchsae::emulator {

class Fibre {
 public:
  using Entry = void (*)(void*);
  /// Gives the fibre a stack and what runs on it at the first switch to it. `entry` must never return.
  void prepare(std::byte* stack, std::size_t stack_bytes, Entry entry, void* argument);
  /// From the running fibre `from` to `to`; returns when something switches back to `from`.
  static void switch_to(Fibre& from, Fibre& to);
  /// Must be the first thing `entry` does.
  static void arrived(Fibre& self);

 private:
#if BRANCHSAE_FIBRES_BY_HAND
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  static void start(unsigned high, unsigned low);
#endif
  // For AddressSanitizer, which must know the stacks; unused without it.
  const void* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
};

/// Stacks with an unreadable page below each, so that an overflow stops the program instead of spoiling a
/// neighbour.
class FibreStacks {
 public:
  static std::size_t bytes();
  /// Stack `index`, made when first asked for.
  std::byte* get(std::size_t index);
  FibreStacks() = default;
  ~FibreStacks();
  FibreStacks(const FibreStacks&) = delete;
  FibreStacks& operator=(const FibreStacks&) = delete;

 private:
  std::vector<std::byte*> mappings_;
};

}  // namespace branchsae::emulator
