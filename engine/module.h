// All parameters are one flat array: values, gradients and the optimiser's moments have the same layout, and the
// gradient array ends with one more element, the number of spots. A checkpoint is one header and one write.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/random.h"
#include "engine/storage.h"

namespace stflow {

/// How a parameter starts.
enum class Init {
  zero,
  one,
  fan_in,       // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for Linear weight and bias
  xavier,       // U(-a, a), a = sqrt(6 / (fan_in + fan_out)): Glorot and Bengio (2010); the masked autoencoder's
  trunc_normal  // N(0, 0.02) cut at two standard deviations: timm's ViT
};

/// A named slice of the flat arrays. `name` is the reference's state-dict name.
struct Parameter {
  std::string name;
  Shape shape;
  DType type = DType::f32;
  Init init = Init::zero;
  int64_t fan_in = 1;
  int64_t offset = -1;  // first element in the flat arrays
  bool decays = false;  // weight decay applies (matrices only)
  bool present = true;  // false: an optional layer that this model does not have
  bool packed = false;  // in no flat array: see ParameterSet::hold()
  uint32_t number = 0;  // place in ParameterSet::all()
};

/// Owns every parameter of a model. Layers declare theirs in their constructors; allocate() then makes the memory.
class ParameterSet {
 public:
  /// Every parameter starts at a multiple of so many elements: on a 64-byte line.
  static constexpr int64_t kAlignment = 16;
  /// `packs`, for inference: each matrix() has no place in the flat arrays, hold() gives it its only copy; there are no gradients.
  /// `held`: the type in which those of two dimensions will be held, where programs are to know it before bind().
  explicit ParameterSet(DType type = DType::f32, Device device = Device::cpu, bool packs = false, DType held = DType::f32)
      : type_(type), device_(device), packs_(packs), held_type_(held), pool_(device) {}
  /// Declares a parameter; the returned copy is the layer's handle. Names are unique.
  Parameter add(const std::string& name, Shape shape, Init init, int64_t fan_in = 1);
  /// Likewise a matrix (rows, ...) that linear() alone reads.
  Parameter matrix(const std::string& name, Shape shape, Init init, int64_t fan_in = 1);
  /// Makes values (initialised from `seed`, the same at any thread count) and gradients.
  void allocate(uint64_t seed);
  /// The values that allocate(seed) gives p, into `out` (p.shape, f32 or f64).
  void initialise(const Parameter& p, uint64_t seed, const Tensor& out) const;
  /// Gives a packed parameter its numbers: `panels` of pool(), in the layout of the operator that reads them and the type they are held in.
  void hold(const Parameter& p, const Tensor& panels);
  [[nodiscard]] TensorPool& pool() { return pool_; }

  [[nodiscard]] const std::vector<Parameter>& all() const { return list_; }
  [[nodiscard]] const Parameter* find(const std::string& name) const;
  [[nodiscard]] int64_t size() const { return size_; }  // elements, alignment gaps included
  [[nodiscard]] int64_t parameters() const;             // elements the model has
  [[nodiscard]] DType type() const { return type_; }
  [[nodiscard]] Device device() const { return device_; }  // whose memory the flat arrays are
  [[nodiscard]] const Tensor& values() const { return values_.tensor(); }
  [[nodiscard]] const Tensor& grads() const { return grads_.tensor(); }  // size() + 1
  /// The values in the host's memory, for whoever reads them there.
  [[nodiscard]] Array host_values() const { return copy_of(values_, device_, Device::cpu); }
  /// The view of p in a flat array of this set's layout.
  [[nodiscard]] Tensor slice(const Tensor& flat, const Parameter& p) const;
  [[nodiscard]] Tensor value(const Parameter& p) const { return p.packed ? held(p) : slice(values_.tensor(), p); }
  [[nodiscard]] Tensor grad(const Parameter& p) const { return slice(grads_.tensor(), p); }

 private:
  [[nodiscard]] Tensor held(const Parameter& p) const;
  std::vector<Parameter> list_;
  int64_t size_ = 0;
  DType type_;
  Device device_;
  bool packs_;
  DType held_type_;
  Array values_, grads_;
  TensorPool pool_;
  std::vector<Tensor> held_;  // by number
};

}  // namespace stflow
