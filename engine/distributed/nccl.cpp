#include "engine/distributed/nccl.h"

#include <cstring>
#include <thread>

#include "engine/cuda/devices.h"
#include "engine/distributed/client.h"
#include "engine/distributed/nccl_api.h"
#include "engine/storage.h"

namespace stflow {
namespace {

int nccl_type(DType t) { return t == DType::f32 ? kNcclFloat : t == DType::f64 ? kNcclDouble : kNcclInt; }

class Nccl final : public Communicator {
 public:
  Nccl(int rank, int size, StoreClient& store, void* stream, double init_timeout, double timeout)
      : Communicator(rank, size, &store, init_timeout), api_(nccl()), stream_(cuda_stream(stream)), stop_({1}, DType::f32, Device::cuda) {
    what_ = "connecting by NCCL " + api_.version();
    NcclId id{};
    if (rank == 0) {
      call(api_.get_unique_id(&id));
      store.set("nccl", std::string(id.bytes, sizeof id.bytes));
    } else {
      const auto text = store.get("nccl", after(init_timeout));
      if (!text || text->size() != sizeof id.bytes) explain("no id of rank 0's communicator");
      std::memcpy(id.bytes, text->data(), sizeof id.bytes);
    }
    NcclConfig config;
    call(api_.init_rank(&comm_, size, id, rank, &config));
    timeout_ = timeout;
  }
  ~Nccl() override {
    if (!comm_) return;
    // One that is whole waits for its last messages; the others do too, since all ranks end alike.
    int state = store_->failed() ? kNcclInProgress : api_.finalize(comm_);
    const auto deadline = after(store_->failed() ? 0 : 5);
    while (state == kNcclInProgress && Clock::now() < deadline && api_.get_async_error(comm_, &state) == kNcclSuccess) pause();
    if (state == kNcclSuccess) api_.destroy(comm_);
    else abandon();
  }

  void abandon() override {
    if (comm_) api_.abort(comm_);
    comm_ = nullptr;
  }

  void join() override { cuda_follow(stream_, side_.get()); }

  void wait() override {
    const auto start = Clock::now();
    while (!cuda_done(stream_)) {
      watch(start);
      int state = kNcclSuccess;
      if (api_.get_async_error(comm_, &state) != kNcclSuccess || (state != kNcclSuccess && state != kNcclInProgress)) broken(state);
      pause();
    }
    if (!looked_) return;
    float stops = 0;
    copy(Device::cpu, &stops, Device::cuda, stop_.tensor().data, sizeof stops, stream_);
    agreed_ = agreed_ || stops > 0;
    looked_ = false;
  }

 private:
  // Short at first: a collective of a small model takes some tens of microseconds.
  static void pause() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

  [[noreturn]] void broken(int state) {
    const std::string error = api_.error_string(state);
    abandon();
    explain("NCCL: " + error);
  }
  void watch(Clock::time_point start) {
    if (!store_->failed() && start > after(-timeout_)) return;
    abandon();
    explain("no end after the time of --collective-timeout");
  }
  // What a call began is in the stream once this returns.
  void call(int result) {
    const auto start = Clock::now();
    for (int state = result; state != kNcclSuccess;) {
      if (state != kNcclInProgress) broken(state);
      watch(start);
      pause();
      if (comm_ && api_.get_async_error(comm_, &state) != kNcclSuccess) broken(state);
    }
  }

  [[nodiscard]] void* stream() const { return beside_ ? side_.get() : stream_; }

  void compare() override {
    if (beside_) cuda_follow(side_.get(), stream_);
    // The wish to stop is summed before the data, once until it is read; the store compares what ranks have come to.
    if (looked_) return;
    const float wish = asked_ ? 1 : 0;
    copy(Device::cuda, stop_.tensor().data, Device::cpu, &wish, sizeof wish, stream());
    void* at = stop_.tensor().data;
    call(api_.all_reduce(at, at, 1, kNcclFloat, kNcclSum, comm_, stream()));
    looked_ = true;
  }
  void gather(const Tensor& mine, const Tensor& all) override {
    call(api_.all_gather(mine.data, all.data, size_t(mine.size()), nccl_type(mine.type), comm_, stream_));
  }
  void reduce(const Tensor& t) override {
    call(api_.all_reduce(t.data, t.data, size_t(t.size()), nccl_type(t.type), kNcclSum, comm_, stream()));
  }
  void spread(const Tensor& t, int root) override {
    call(api_.broadcast(t.data, t.data, size_t(t.size()), nccl_type(t.type), root, comm_, stream_));
  }

  const NcclApi& api_;
  void* const stream_;
  const CudaStream side_;  // of the collectives beside it
  NcclComm* comm_ = nullptr;
  Array stop_;           // how many ranks wish to stop
  bool looked_ = false;  // stop_ holds a sum that the host has not read
};

}  // namespace

std::unique_ptr<Communicator> connect_nccl(int rank, int size, StoreClient& store, void* stream, double init_timeout, double timeout) {
  return std::make_unique<Nccl>(rank, size, store, stream, init_timeout, timeout);
}

}  // namespace stflow
