// What ranks do together. One interface and three back ends: one rank alone, Gloo for CPU ranks, NCCL for GPUs.
#pragma once
#include <memory>
#include <string>

#include "engine/distributed/sockets.h"
#include "engine/tensor.h"

namespace stflow {

class StoreClient;

/// All ranks call the same collectives in the same order with the same sizes and names; what differs is refused with both sides' view.
/// A rank that dies, ends, fails or does not come makes the collective of every other rank throw Exit::peer naming it.
/// Tensors are in the memory of the back end's device, and of its stream: results are there for what is put into the stream later.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }

  /// all (size() x mine.size()) becomes every rank's `mine`, in the order of ranks. `site` is what messages call it: "gradients".
  void all_gather(const Tensor& mine, const Tensor& all, const char* site);
  /// t becomes the sum over the ranks, in the back end's own order: the same bits from run to run at one number of ranks. `beside`: after
  /// what is in the stream by now, and while more is put there; the sum is there after join().
  void all_reduce_sum(const Tensor& t, const char* site, bool beside = false);
  /// What is put into the stream from now on waits for the collectives beside it.
  virtual void join() {}
  /// t becomes rank `root`'s.
  void broadcast(const Tensor& t, int root, const char* site);
  /// Before the host waits for the device: waits for the collectives as long as no rank is lost. Throws as they do.
  virtual void wait() {}
  /// This rank fails: nothing that it has begun will be finished.
  virtual void abandon() {}

  /// A rank that wants to stop says so; its next collective tells all, so that stop_agreed() turns true on every rank at once.
  void ask_to_stop() { asked_ = true; }
  [[nodiscard]] bool stop_agreed() const { return size_ == 1 ? asked_ : agreed_; }
  /// The text of the lowest rank that has one, on every rank. All ranks call it, and all get it though some then end.
  std::string first_text(const std::string& text);
  /// From now on the host waits before each collective until all ranks have come to it, and to the same. Without, and that is quicker,
  /// ranks that differ are noticed, but NCCL may have begun by then.
  void check_before(bool on) { checks_ = on; }
  /// For messages: the optimiser step that the next collectives belong to.
  void set_step(int64_t step) { step_ = step; }

 protected:
  /// `timeout`: seconds that a collective waits for the others.
  Communicator(int rank, int size, StoreClient* store, double timeout) : rank_(rank), size_(size), store_(store), timeout_(timeout) {}
  virtual void gather(const Tensor& mine, const Tensor& all) = 0;
  virtual void reduce(const Tensor& t) = 0;
  virtual void spread(const Tensor& t, int root) = 0;
  /// Before each: what this rank has come to is compared with the others, and the wish to stop travels.
  virtual void compare() {}

  /// Throws who is to blame for a collective that failed, or that no one seems to be; `what` says how it showed.
  [[noreturn]] void explain(const std::string& what);
  [[nodiscard]] std::string here() const;  // "rank 1 in collective 7: ..."

  const int rank_, size_;
  StoreClient* const store_;
  double timeout_;
  uint64_t number_ = 0;
  std::string what_;         // of the collective that is being done
  Clock::time_point began_;  // when this rank came to it
  int64_t step_ = 0;
  bool asked_ = false, agreed_ = false;
  bool beside_ = false;  // the collective that is being done

 private:
  bool checks_ = false;
  int texts_ = 0;
  void begin(const char* op, const Tensor& t, int root, const char* site);
};

/// One rank by itself: each collective is the identity.
class Alone final : public Communicator {
 public:
  Alone() : Communicator(0, 1, nullptr, 0) {}

 private:
  void gather(const Tensor& mine, const Tensor& all) override;
  void reduce(const Tensor&) override {}
  void spread(const Tensor&, int) override {}
};

}  // namespace stflow
