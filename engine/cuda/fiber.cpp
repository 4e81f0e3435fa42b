// Fibers: sixteen instructions a switch where ucontext makes two system calls.
#include <memory>

#include "engine/cuda/emulate_block.h"
#include "engine/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a call preserves and the stack pointer, then loads another's.
extern "C" void stflow_switch_fiber(void** save, void* load);

#if defined(__aarch64__)
constexpr int kSaved = 20;  // x19 to x30, d8 to d15; x30 is where it goes on
asm(R"(
.text
.globl stflow_switch_fiber
.type stflow_switch_fiber,%function
stflow_switch_fiber:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size stflow_switch_fiber, .-stflow_switch_fiber
)");
#else  // x86-64
constexpr int kSaved = 6;
asm(R"(
.text
.globl stflow_switch_fiber
.type stflow_switch_fiber,@function
stflow_switch_fiber:
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
.size stflow_switch_fiber, .-stflow_switch_fiber
)");
#endif

namespace stflow::emulator {

struct Fiber {
  static constexpr size_t kStack = size_t(64) << 10;
  void* sp = nullptr;
  std::unique_ptr<char[]> stack{new char[kStack]};
  void (*body)() = nullptr;
  void* fake = nullptr;  // ASan's
};

namespace {

Fiber* running = nullptr;
void* scheduler_sp = nullptr;
#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack = nullptr;
size_t scheduler_size = 0;
void* scheduler_fake = nullptr;
#endif

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
  running->body();
  __builtin_unreachable();
}

}  // namespace

Fiber* new_fiber(void (*body)()) {
  static std::vector<std::unique_ptr<Fiber>> all;
  all.push_back(std::make_unique<Fiber>());
  Fiber* f = all.back().get();
  f->body = body;
  auto* top = reinterpret_cast<void**>(f->stack.get() + Fiber::kStack);  // new[] aligns to 16 bytes
  auto* entry = reinterpret_cast<void*>(&fiber_main);
#if defined(__aarch64__)
  top -= kSaved;
  std::fill(top, top + kSaved, nullptr);
  top[11] = entry;  // x30
#else
  *--top = nullptr;  // keeps the stack 16-byte aligned at entry
  *--top = entry;    // where the switch returns to
  top -= kSaved;
  std::fill(top, top + kSaved, nullptr);
#endif
  f->sp = top;
  return f;
}

void enter(Fiber* f) {
  running = f;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake, f->stack.get(), Fiber::kStack);
#endif
  stflow_switch_fiber(&scheduler_sp, f->sp);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
  running = nullptr;
}

void leave() {
  Fiber* self = running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&self->fake, scheduler_stack, scheduler_size);
#endif
  stflow_switch_fiber(&self->sp, scheduler_sp);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake, &scheduler_stack, &scheduler_size);
#endif
}

}  // namespace stflow::emulator
