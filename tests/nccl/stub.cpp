// A stand-in for libnccl.so.2 with the functions that stflow calls, so that the code around NCCL runs on machines without GPUs: ranks of
// one host exchange real data through shared memory. As in the real one, calls return at once and a worker does what they ask for.
//
// STFLOW_STUB_NCCL="hang RANK N": the N-th collective of that rank never ends, until the communicator is aborted; "fail RANK N": it ends
// with an error of the network.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

enum Result { success = 0, system_error = 2, invalid_argument = 4, remote_error = 6, in_progress = 7 };
constexpr int kMostRanks = 16;
constexpr size_t kBytes = size_t(64) << 20;  // of one rank's data; taken as it is touched

struct Shared {
  std::atomic<uint64_t> phase[kMostRanks];  // how many barriers each rank has come to
};

struct Id {
  char bytes[128];
};
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

void* map(const std::string& name, size_t bytes) {
  const int fd = shm_open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return nullptr;
  void* p = ftruncate(fd, off_t(bytes)) == 0 ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  close(fd);
  return p == MAP_FAILED ? nullptr : p;
}

template <class T> void sum(void* to, const std::vector<char*>& parts, size_t count) {
  auto* out = static_cast<T*>(to);
  for (size_t i = 0; i < count; i++) {
    T total{};
    for (size_t r = 0; r < parts.size(); r++) {
      T x;
      std::memcpy(&x, parts[r] + i * sizeof(T), sizeof x);
      total = r == 0 ? x : T(total + x);
    }
    out[i] = total;
  }
}

}  // namespace

struct ncclComm {
  ncclComm(std::string base, int rank, int size) : base_(std::move(base)), rank_(rank), size_(size) {
    int who = -1;
    char what[8] = "";
    if (const char* wish = std::getenv("STFLOW_STUB_NCCL");
        wish && std::sscanf(wish, "%7s %d %d", what, &who, &number_) == 3 && who == rank)
      (std::string(what) == "hang" ? hangs_ : fails_) = true;
    push([this] { open(); });
    worker_ = std::thread([this] { work(); });
  }
  ~ncclComm() {
    aborted_ = true;
    changed_.notify_all();
    worker_.join();
    if (shared_) munmap(shared_, sizeof(Shared));
    for (char* p : parts_) munmap(p, kBytes);
  }
  void push(std::function<void()> job) {
    std::lock_guard guard(lock_);
    jobs_.push_back(std::move(job));
    changed_.notify_all();
  }
  int state() {
    std::lock_guard guard(lock_);
    return error_ != success ? error_.load() : jobs_.empty() ? int(success) : int(in_progress);
  }
  // Each rank shows `bytes` of its data; `use` reads those of all.
  int collective(const void* from, size_t bytes, std::function<void(const std::vector<char*>&)> use) {
    if (bytes > kBytes) return invalid_argument;
    push([this, from, bytes, use = std::move(use)] {
      done_++;
      if (fails_ && done_ == number_) error_ = remote_error;
      while (hangs_ && done_ == number_ && !aborted_) usleep(1000);
      if (aborted_ || error_ != success) return;
      std::memcpy(parts_[size_t(rank_)], from, bytes);
      if (!barrier()) return;
      use(parts_);
      barrier();
    });
    return state();
  }
  [[nodiscard]] int rank() const { return rank_; }

 private:
  void open() {
    shared_ = static_cast<Shared*>(map(base_, sizeof(Shared)));
    for (int r = 0; shared_ && r < size_; r++)
      if (auto* p = static_cast<char*>(map(base_ + "-" + std::to_string(r), kBytes))) parts_.push_back(p);
    if (parts_.size() != size_t(size_)) error_ = system_error;
    else if (barrier()) shm_unlink((base_ + "-" + std::to_string(rank_)).c_str()), rank_ == 0 && shm_unlink(base_.c_str());
  }
  bool barrier() {
    const uint64_t mine = ++shared_->phase[rank_];
    for (int r = 0; r < size_; r++)
      while (shared_->phase[r] < mine) {
        if (aborted_) return false;
        usleep(50);
      }
    return true;
  }
  void work() {
    std::unique_lock guard(lock_);
    while (!aborted_) {
      changed_.wait(guard, [&] { return aborted_ || !jobs_.empty(); });
      if (aborted_) return;
      const std::function<void()> job = jobs_.front();
      guard.unlock();
      job();
      guard.lock();
      jobs_.pop_front();  // done: only now is it no longer in progress
    }
  }

  const std::string base_;
  const int rank_, size_;
  int number_ = 0, done_ = 0;
  bool hangs_ = false, fails_ = false;
  Shared* shared_ = nullptr;
  std::vector<char*> parts_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::atomic<bool> aborted_{false};
  std::atomic<int> error_{success};
  std::thread worker_;
};

extern "C" {

int ncclGetVersion(int* version) { return *version = 22809, success; }

int ncclGetUniqueId(Id* id) {
  static std::atomic<int> made{0};
  std::snprintf(id->bytes, sizeof id->bytes, "/stflow-stub-nccl-%d-%d", int(getpid()), made++);
  return success;
}

int ncclCommInitRankConfig(ncclComm** comm, int size, Id id, int rank, Config* config) {
  if (size < 1 || size > kMostRanks || rank < 0 || rank >= size || config->magic != 0xcafebeef || config->blocking != 0)
    return invalid_argument;
  *comm = new ncclComm(id.bytes, rank, size);
  return in_progress;
}

int ncclCommGetAsyncError(ncclComm* comm, int* state) { return *state = comm->state(), success; }

int ncclAllGather(const void* from, void* to, size_t count, int type, ncclComm* comm, void*) {
  const size_t bytes = count * (type == 8 ? 8 : 4);
  return comm->collective(from, bytes, [=](const std::vector<char*>& parts) {
    for (size_t r = 0; r < parts.size(); r++) std::memcpy(static_cast<char*>(to) + r * bytes, parts[r], bytes);
  });
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, ncclComm* comm, void*) {
  if (op != 0) return invalid_argument;
  return comm->collective(from, count * (type == 8 ? 8 : 4), [=](const std::vector<char*>& parts) {
    if (type == 8) sum<double>(to, parts, count);
    else if (type == 7) sum<float>(to, parts, count);
    else sum<int32_t>(to, parts, count);
  });
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, ncclComm* comm, void*) {
  const size_t bytes = count * (type == 8 ? 8 : 4);
  return comm->collective(from, comm->rank() == root ? bytes : 0,
                          [=](const std::vector<char*>& parts) { std::memcpy(to, parts[size_t(root)], bytes); });
}

int ncclCommFinalize(ncclComm* comm) { return comm->state(); }
int ncclCommDestroy(ncclComm* comm) { return delete comm, success; }
int ncclCommAbort(ncclComm* comm) { return delete comm, success; }
const char* ncclGetErrorString(int e) { return e == remote_error ? "remote process exited or there was a network error" : "an error"; }
}
