// An op: how one node of a tape infers its shape and runs forward and backward.
#pragma once
#include <cstddef>
#include <span>

#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

inline constexpr int kMaxInputs = 16;

/// What backward reads besides dout. The planner frees everything else early.
enum Keep : unsigned { kNothing = 0, kInputs = 1, kOutput = 2 };

/// Everything an op needs for one run, in fixed arrays: no heap in a step.
struct Call {
  Context context;
  bool training = false;
  int inputs = 0;
  Tensor in[kMaxInputs];   // a missing optional input has data == nullptr and size 0
  Tensor din[kMaxInputs];  // data == nullptr where no gradient is wanted; backward ADDS into the others
  Tensor out, dout;
  void* saved = nullptr;     // written by forward, read by backward
  void* scratch = nullptr;   // this call's own
  void* prepared = nullptr;  // written by prepare(), read by every forward of an inference tape
};

inline constexpr size_t kAlign = 64;
/// Bytes rounded up to the arena's alignment: for ops that lay several arrays into saved or scratch.
constexpr size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

/// An op is small, immutable and trivially destructible; it lives in the tape. Sizes may depend on shapes only.
struct Op {
  virtual const char* name() const = 0;
  /// Shape and type of the output; refuses wrong shapes with check(). `data` of the result is ignored.
  virtual Tensor infer(std::span<const Tensor> in) const = 0;
  virtual void forward(const Call&) const = 0;
  virtual void backward(const Call&) const = 0;
  virtual unsigned keep() const { return kInputs | kOutput; }
  /// The input whose memory the output may take where nothing else reads that input later, -1 if there is none: each number of the output
  /// is written after the input's own has been read.
  virtual int overwrites(const Call&) const { return -1; }
  /// True for an op that reads inputs with Tensor::packed.
  virtual bool reads_packed() const { return false; }
  /// In an inference program on a GPU with Products::bf16 (Tape::narrow): whether the op can read input i in bf16; and whether it can write
  /// its value so, given the types of its inputs.
  virtual bool reads_half(const Call&, int /*i*/) const { return false; }
  virtual bool writes_half(const Call&) const { return false; }
  virtual size_t saved_bytes(const Call&) const { return 0; }
  virtual size_t scratch_bytes(const Call&, bool /*backward*/) const { return 0; }
  virtual size_t prepared_bytes(const Call&) const { return 0; }
  /// Inference only, once after bind(): packs weights or caches what no input of the run can change.
  virtual void prepare(const Call&) const {}

 protected:
  ~Op() = default;
};

}  // namespace stflow
