#include "engine/storage.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdlib>

#include "engine/cuda/memory.h"
#include "engine/op.h"
#include "engine/threads.h"

namespace stflow {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;

}  // namespace

void copy(Device to_device, void* to, Device from_device, const void* from, size_t bytes, void* stream) {
  if (bytes == 0) return;  // an empty side may be null
  check(to && from, "copy: {} bytes, but no memory on a side", bytes);
  if (to_device == Device::cpu && from_device == Device::cpu) std::memcpy(to, from, bytes);
  else cuda_copy(to, from, bytes, to_device == Device::cpu, stream);
}

Storage Storage::beside(Device device, size_t bytes) {
  Storage s;
  s.pinned_ = device == Device::cuda;
  s.reserve(bytes);
  return s;
}

Tensor TensorPool::take(Shape shape, DType type) {
  constexpr size_t kPiece = 8 * kHugePage, kApart = 256;  // the alignment of a GPU's memory
  const size_t bytes = (size_t(shape.size()) * bytes_of(type) / kApart + 1) * kApart;
  if (bytes > left_ && bytes > kPiece / 2) return {pieces_.emplace_back(bytes, device_).data(), shape, type};
  if (bytes > left_) next_ = static_cast<char*>(pieces_.emplace_back(kPiece, device_).data()), left_ = kPiece;
  left_ -= bytes;
  return {std::exchange(next_, next_ + bytes), shape, type};
}

Array Array::beside(Device device, Shape shape, DType type) {
  Array a;
  a.storage_ = Storage::beside(device, size_t(shape.size()) * bytes_of(type) + 1);
  a.tensor_ = {a.storage_.data(), shape, type};
  return a;
}

Returned::Returned(Shape shape, DType type, const Context& context) : context_(context), here_(Array::beside(context.device, shape, type)) {
  if (context.device == Device::cuda) fetched_ = std::make_unique<CudaEvent>();
}

void Returned::fetch(const Tensor& from) {
  check(from.bytes() <= here_.tensor().bytes(), "fetch: {} bytes, expected at most {}", from.bytes(), here_.tensor().bytes());
  if (context_.device == Device::cpu) return copy(Device::cpu, here_.tensor().data, Device::cpu, from.data, from.bytes());
  cuda_copy(here_.tensor().data, from.data, from.bytes(), false, context_.stream);
  fetched_->record(context_.stream);
}

void Returned::wait() const {
  if (fetched_) fetched_->wait();
}

Staged::Staged(Shape shape, DType type, const Context& context) : context_(context), here_(Array::beside(context.device, shape, type)) {
  if (context.device != Device::cpu) there_ = Array(shape, type, context.device);
}

void Staged::send() const {
  if (context_.device == Device::cpu) return;
  copy(context_.device, there_.tensor().data, Device::cpu, here_.tensor().data, here_.tensor().bytes(), context_.stream);
}

Upload::Upload(Device device) : here_(Storage::beside(device)) {
  if (device == Device::cuda) sent_ = std::make_unique<CudaEvent>();
}

void* Upload::room(size_t bytes) {
  if (sent_ && !sent_->done()) sent_->wait();
  here_.reserve(bytes);
  return here_.data();
}

void Upload::send(void* to, size_t bytes, void* stream) {
  check(sent_ != nullptr, "upload: {} bytes, but not to a GPU", bytes);
  copy(Device::cuda, to, Device::cpu, here_.data(), bytes, stream);
  sent_->record(stream);
}

Array copy_of(const Tensor& t, Device from, Device to, void* stream) {
  Array a(t.shape, t.type, to);
  copy(to, a.tensor().data, from, t.data, t.bytes(), stream);
  return a;
}

void fill(Device device, void* p, int byte, size_t bytes, void* stream) {
  if (device == Device::cuda) return cuda_fill(p, byte, bytes, stream);
  char* to = static_cast<char*>(p);
  parallel_for(int64_t(bytes), 1 << 17, [=](int64_t begin, int64_t end) { std::memset(to + begin, byte, size_t(end - begin)); });
}

Storage::~Storage() { release(); }

void Storage::release() {
  if (device_ == Device::cuda) cuda_release(data_);
  else if (pinned_) cuda_release_host(data_);
  else std::free(data_);
  data_ = nullptr, bytes_ = 0;
}

void Storage::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  release();
  if (device_ == Device::cuda) {
    data_ = cuda_allocate(bytes);
    bytes_ = bytes;
    return cuda_fill(data_, 0, bytes);
  }
  if (pinned_) {
    data_ = cuda_allocate_host(bytes);
    bytes_ = bytes;
    std::memset(data_, 0, bytes);
    return;
  }
  const bool huge = bytes >= kHugePage, large = bytes >= 4 * kHugePage;
  // Large memory is the system's again once it is freed. By itself glibc would begin to keep it after the first time, and an encoder that
  // packs one matrix after another would leave holes of their size.
  if (large) {
    static const int fixed = ::mallopt(M_MMAP_THRESHOLD, int(4 * kHugePage));
    static_cast<void>(fixed);
  }
  const size_t align = huge ? kHugePage : kAlign;
  data_ = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (!data_) fail(Exit::memory, "memory: {} bytes asked for, none free; lower --batch-size or --threads", bytes);
  bytes_ = aligned(bytes);
  // An arena is walked end to end in each step: large pages where the system has them spare the address translation. A wish only.
  if (huge) ::madvise(data_, bytes_ / kHugePage * kHugePage, MADV_HUGEPAGE);
  std::memset(data_, 0, bytes_);
}

}  // namespace stflow
