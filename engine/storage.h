// The only owner of bytes: 64-byte aligned (256 on a GPU), move-only, zero-filled when it grows.
#pragma once
#include <cstddef>
#include <cstring>
#include <utility>

#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

/// Copies bytes between memories, in the order of the stream; to the host, it waits until they are there. A host's `from` may be
/// changed after the call.
void copy(Device to_device, void* to, Device from_device, const void* from, size_t bytes, void* stream = nullptr);
/// Every byte of [p, p + bytes) becomes `byte`: on all threads, or in the order of the stream.
void fill(Device device, void* p, int byte, size_t bytes, void* stream = nullptr);

class Storage {
 public:
  Storage() = default;
  explicit Storage(size_t bytes, Device device = Device::cpu) : device_(device) { reserve(bytes); }
  Storage(Storage&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)), device_(o.device_) {}
  Storage& operator=(Storage&& o) noexcept {
    std::swap(data_, o.data_), std::swap(bytes_, o.bytes_), std::swap(device_, o.device_);
    return *this;
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  /// At least `bytes`; growing discards the content and fills with zero. Throws Exit::memory naming the bytes.
  void reserve(size_t bytes);
  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] Device device() const { return device_; }

 private:
  void release();
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_ = Device::cpu;
};

/// A tensor together with its memory.
class Array {
 public:
  Array() = default;
  /// Zero-filled; an empty one has an address too.
  Array(Shape shape, DType type, Device device = Device::cpu)
      : storage_(size_t(shape.size()) * bytes_of(type) + 1, device), tensor_{storage_.data(), shape, type} {}
  [[nodiscard]] const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }
  template <class T> [[nodiscard]] T* as() const { return tensor_.as<T>(); }

 private:
  Storage storage_;
  Tensor tensor_;
};

/// What the host writes and a context's device reads; on the CPU one memory is both.
class Staged {
 public:
  Staged(Shape shape, DType type, const Context& context);
  /// The host's side.
  template <class T> [[nodiscard]] T* as() const { return here_.as<T>(); }
  /// The device's side; the host's numbers are there after send().
  operator const Tensor&() const { return context_.device == Device::cpu ? here_.tensor() : there_.tensor(); }
  void send() const;

 private:
  Context context_;
  Array here_, there_;
};

/// A copy of `t`, which is in the memory of `from`, in that of `to`.
Array copy_of(const Tensor& t, Device from, Device to, void* stream = nullptr);

}  // namespace stflow
