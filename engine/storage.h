// The only owner of bytes: 64-byte aligned (256 on a GPU), move-only, zero-filled when it grows.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "engine/cuda/devices.h"
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
  /// The host's memory, pinned where `device` is a GPU: copies between the two keep nobody waiting.
  static Storage beside(Device device, size_t bytes = 0);
  Storage(Storage&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)), device_(o.device_), pinned_(o.pinned_) {}
  Storage& operator=(Storage&& o) noexcept {
    std::swap(data_, o.data_), std::swap(bytes_, o.bytes_), std::swap(device_, o.device_), std::swap(pinned_, o.pinned_);
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
  bool pinned_ = false;
};

/// Memory of tensors that live as long as it does, side by side in few pieces: large pages serve those too small for one.
class TensorPool {
 public:
  explicit TensorPool(Device device = Device::cpu) : device_(device) {}
  /// Zero-filled, and stays where it is.
  Tensor take(Shape shape, DType type);

 private:
  Device device_;
  std::vector<Storage> pieces_;
  char* next_ = nullptr;
  size_t left_ = 0;
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
  /// As Storage::beside().
  static Array beside(Device device, Shape shape, DType type);

 private:
  Storage storage_;
  Tensor tensor_;
};

/// What the host writes and a context's device reads; on the CPU one memory is both. On a GPU the host's side is pinned: after a send() it
/// must stay as it is until the host has waited for the stream.
class Staged {
 public:
  Staged(Shape shape, DType type, const Context& context);
  /// The host's side.
  template <class T> [[nodiscard]] T* as() const { return here_.as<T>(); }
  /// The device's side; the host's numbers are there after send().
  operator const Tensor&() const { return context_.device == Device::cpu ? here_.tensor() : there_.tensor(); }
  void send() const;
  [[nodiscard]] DType type() const { return here_.tensor().type; }

 private:
  Context context_;
  Array here_, there_;
};

/// The host's side of numbers, now few, now many, that go to a GPU again and again: pinned, so that no copy holds up the host.
class Upload {
 public:
  explicit Upload(Device device = Device::cpu);
  /// Room for `bytes`; waits if the GPU has not yet come to what was sent from here before.
  void* room(size_t bytes);
  /// Puts the copy of the first `bytes` of it into the stream.
  void send(void* to, size_t bytes, void* stream);

 private:
  Storage here_;
  std::unique_ptr<CudaEvent> sent_;  // of a GPU
};

/// What a context's device writes and the host reads while the device goes on; on the CPU it is copied at once.
class Returned {
 public:
  Returned(Shape shape, DType type, const Context& context);
  /// Puts the copy of `from`, at most as large, into the stream.
  void fetch(const Tensor& from);
  /// Waits for the last fetch(), and for no work behind it.
  void wait() const;
  /// What was fetched: there after wait().
  template <class T> [[nodiscard]] const T* as() const { return here_.as<T>(); }

 private:
  Context context_;
  Array here_;
  std::unique_ptr<CudaEvent> fetched_;  // of a device
};

/// A copy of `t`, which is in the memory of `from`, in that of `to`.
Array copy_of(const Tensor& t, Device from, Device to, void* stream = nullptr);

}  // namespace stflow
