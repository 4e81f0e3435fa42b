// Decoders ahead of the encoder: the threads of embed_patches().
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "engine/threads.h"
#include "tools/encoder/patch_encoder.h"
#include "tools/signals.h"

namespace stflow {
namespace {

struct Ready {
  size_t job;
  int64_t row;
  Image patch;
};

/// Ends a piece whose patches nobody waits for any more.
struct Abandoned {};

/// Between decoders and encoder: at most `most` patches wait.
class Queue {
 public:
  Queue(size_t most, size_t producers) : most_(most), producers_(producers) {}

  void push(Ready r) {
    std::unique_lock<std::mutex> hold(lock_);
    room_.wait(hold, [&] { return waiting_.size() < most_ || closed_; });
    if (closed_) throw Abandoned{};
    waiting_.push_back(std::move(r));
    more_.notify_one();
  }
  /// Up to `many` patches; fewer only when there will be no more.
  std::vector<Ready> pop(size_t many) {
    std::unique_lock<std::mutex> hold(lock_);
    more_.wait(hold, [&] { return waiting_.size() >= many || producers_ == 0 || failed_; });
    std::vector<Ready> batch;
    while (batch.size() < many && !waiting_.empty() && !failed_) {
      batch.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    room_.notify_all();
    return batch;
  }
  void producer_done() {
    const std::lock_guard<std::mutex> hold(lock_);
    producers_--;
    more_.notify_one();
  }
  /// Of several the one of the earliest piece is kept.
  void fail_with(size_t piece, std::exception_ptr error) {
    const std::lock_guard<std::mutex> hold(lock_);
    if (!failed_ || piece < failed_piece_) failed_ = std::move(error), failed_piece_ = piece;
    closed_ = true;
    room_.notify_all();
    more_.notify_one();
  }
  void close() {
    const std::lock_guard<std::mutex> hold(lock_);
    closed_ = true;
    room_.notify_all();
  }
  [[nodiscard]] bool closed() {
    const std::lock_guard<std::mutex> hold(lock_);
    return closed_;
  }
  void rethrow() {
    const std::lock_guard<std::mutex> hold(lock_);
    if (failed_) std::rethrow_exception(failed_);
  }

 private:
  std::mutex lock_;
  std::condition_variable room_, more_;
  std::deque<Ready> waiting_;
  size_t most_, producers_;
  bool closed_ = false;
  std::exception_ptr failed_;
  size_t failed_piece_ = 0;
};

/// The decoders' threads; they are waited for at the end, whatever happens.
class Decoders {
 public:
  Decoders(const PatchEncoder& encoder, const std::vector<PatchJob>& jobs, Queue& queue, size_t threads)
      : encoder_(encoder), jobs_(jobs), queue_(queue) {
    for (size_t j = 0; j < jobs.size(); j++)
      for (size_t p = 0; p < jobs[j].pieces.size(); p++) pieces_.emplace_back(j, p);
    for (size_t i = 0; i < threads; i++) threads_.emplace_back([this] { run(); });
  }
  Decoders(const Decoders&) = delete;
  Decoders& operator=(const Decoders&) = delete;
  ~Decoders() { join(); }

  void join() {
    queue_.close();
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }

 private:
  void run() {
    for (size_t i = 0; (i = next_++) < pieces_.size() && !queue_.closed();) {
      const auto [j, p] = pieces_[i];
      try {
        jobs_[j].pieces[p]([&, job = j](int64_t row, Image patch) {
          Image ready = encoder_.prepare(std::move(patch), fmt::format("{}: patch {}", jobs_[job].name, row + 1));
          queue_.push({job, row, std::move(ready)});
        });
      } catch (const Abandoned&) {
        break;
      } catch (...) {
        queue_.fail_with(i, std::current_exception());
        break;
      }
    }
    queue_.producer_done();
  }

  const PatchEncoder& encoder_;
  const std::vector<PatchJob>& jobs_;
  Queue& queue_;
  std::vector<std::pair<size_t, size_t>> pieces_;  // job, its piece
  std::atomic<size_t> next_{0};
  std::vector<std::thread> threads_;
};

}  // namespace

void embed_patches(PatchEncoder& encoder, const std::vector<PatchJob>& jobs, terminal::Progress& progress) {
  Encoder& net = encoder.encoder();
  const auto many = size_t(net.batch());
  const size_t bytes = size_t(net.size()) * size_t(net.size()) * 3;
  size_t pieces = 0;
  std::vector<int64_t> left;
  for (const PatchJob& job : jobs) pieces += job.pieces.size(), left.push_back(job.count);
  const size_t threads = std::min<size_t>(pieces, size_t(thread_count()));
  Queue queue(3 * many, threads);
  Decoders decoders(encoder, jobs, queue, threads);
  while (net.begun() > 0) net.finish();  // of a run that an error ended
  // On a GPU the batch after is decoded, copied here and on its way while one is computed.
  std::deque<std::vector<Ready>> begun;
  int64_t done = 0;
  for (bool more = true; more || !begun.empty();) {
    if (more) {
      std::vector<Ready> batch = queue.pop(many);
      if ((more = !batch.empty())) {
        for (size_t i = 0; i < batch.size(); i++) std::copy(batch[i].patch.rgb.begin(), batch[i].patch.rgb.end(), net.room() + i * bytes);
        net.begin(int64_t(batch.size()));
        begun.push_back(std::move(batch));
      }
    }
    if (begun.empty() || (more && net.begun() < net.ahead())) continue;
    const std::vector<Ready> batch = std::move(begun.front());
    begun.pop_front();
    const float* features = net.finish();
    for (size_t i = 0; i < batch.size(); i++) {
      const PatchJob& job = jobs[batch[i].job];
      job.row(batch[i].row, features + i * size_t(net.dim()));
      if (--left[batch[i].job] == 0) job.done();
    }
    progress.update(done += int64_t(batch.size()), jobs[batch.back().job].name);
    if (stop_requested())
      fail(Exit::preempted, "stopped by a signal while embedding {}, expected the end; start again: what is finished is kept",
           jobs[batch.back().job].name);
  }
  decoders.join();
  queue.rethrow();
  for (size_t j = 0; j < jobs.size(); j++) check(left[j] == 0, "{}: {} patches were not embedded", jobs[j].name, left[j]);
}

}  // namespace stflow
