// The only owner of bytes: 64-byte aligned, move-only, zero-filled when it grows.
#pragma once
#include <cstddef>
#include <cstring>
#include <utility>

#include "engine/tensor.h"

namespace stflow {

class Storage {
 public:
  Storage() = default;
  explicit Storage(size_t bytes) { reserve(bytes); }
  Storage(Storage&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  Storage& operator=(Storage&& o) noexcept {
    std::swap(data_, o.data_), std::swap(bytes_, o.bytes_);
    return *this;
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  /// At least `bytes`; growing discards the content and fills with zero. Throws Exit::memory naming the bytes.
  void reserve(size_t bytes);
  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// A tensor together with its memory.
class Array {
 public:
  Array() = default;
  /// Zero-filled; an empty one has an address too.
  Array(Shape shape, DType type) : storage_(size_t(shape.size()) * bytes_of(type) + 1), tensor_{storage_.data(), shape, type} {}
  [[nodiscard]] const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }
  template <class T> [[nodiscard]] T* as() const { return tensor_.as<T>(); }

 private:
  Storage storage_;
  Tensor tensor_;
};

}  // namespace stflow
