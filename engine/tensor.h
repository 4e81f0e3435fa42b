// A tensor is a dense, row-major view: pointer, shape, type. It owns nothing and is trivially copyable.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/error.h"

namespace stflow {

/// f16 (IEEE half) and bf16 are how an encoder's matrices may be held (ParameterSet::hold()); nothing computes in them.
enum class DType : uint8_t { f32, f64, i32, f16, bf16 };

inline bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }
inline size_t bytes_of(DType t) { return t == DType::f64 ? 8 : is_half(t) ? 2 : 4; }
inline const char* name_of(DType t) {
  constexpr const char* kNames[] = {"f32", "f64", "i32", "f16", "bf16"};
  return kNames[int(t)];
}

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::i32; };

/// Up to four dimensions, outermost first.
struct Shape {
  int64_t n[4] = {0, 0, 0, 0};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    check(dims.size() <= 4, "shape of rank {}, expected at most 4", dims.size());
    for (int64_t d : dims) n[rank++] = d;
  }
  [[nodiscard]] int64_t size() const {
    int64_t s = rank == 0 ? 0 : 1;
    for (int i = 0; i < rank; i++) s *= n[i];
    return s;
  }
  int64_t operator[](int i) const { return n[i < 0 ? rank + i : i]; }  // negative counts from the end
  bool operator==(const Shape& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; i++)
      if (n[i] != o.n[i]) return false;
    return true;
  }
  [[nodiscard]] std::string text() const {
    std::string s = "(";
    for (int i = 0; i < rank; i++) s += (i ? ", " : "") + std::to_string(n[i]);
    return s + ")";
  }
};

struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType type = DType::f32;
  bool packed = false;  // a matrix in the layout of the one operator that reads it (Op::reads_packed)

  [[nodiscard]] int64_t size() const { return shape.size(); }
  [[nodiscard]] size_t bytes() const { return size_t(size()) * bytes_of(type); }
  [[nodiscard]] int64_t cols() const { return shape[-1]; }                          // last dimension
  [[nodiscard]] int64_t rows() const { return cols() == 0 ? 0 : size() / cols(); }  // all the others
  /// The elements as T; T must be the tensor's type.
  template <class T> [[nodiscard]] T* as() const { return static_cast<T*>(data); }
};

template <class T> Tensor view(T* data, Shape shape) { return {data, shape, DTypeOf<T>::value}; }

/// Calls f(float{}) or f(double{}) by the tensor's type: the one dispatch on the number type.
template <class F> void by_type(DType t, F f) {
  if (t == DType::f64) f(double{});
  else f(float{});
}

}  // namespace stflow
