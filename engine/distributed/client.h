// A rank's side of the store: keys of the others, and the watch that learns within moments that one of them is gone.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/distributed/message.h"
#include "engine/distributed/place.h"
#include "engine/distributed/sockets.h"
#include "engine/error.h"

namespace stflow {

/// Who is to blame, and the exit code of everyone else: Exit::preempted when a signal stopped that rank, else Exit::peer.
struct Fault {
  Exit code = Exit::peer;
  std::string text;
};

class StoreClient {
 public:
  /// Connects to place.master and says hello, trying until `deadline`. Throws Exit::peer when nobody answers or this rank is refused.
  /// `stop`: a signal has come, which ends this and every wait for a key with Exit::preempted; null: never.
  /// `last_words` is called from the watch when the process still runs `grace` seconds after a fault: it has to end it.
  StoreClient(const Place& place, Clock::time_point deadline, std::function<void(const Fault&)> last_words,
              std::function<bool()> stop = {});
  ~StoreClient();
  StoreClient(const StoreClient&) = delete;
  StoreClient& operator=(const StoreClient&) = delete;

  void set(const std::string& key, const std::string& value) { send({Message::set, 0, key, value}); }
  /// Waits for the key; nothing once `deadline` has passed. Throws the fault that ends the wait, or Exit::preempted after a signal.
  std::optional<std::string> get(const std::string& key, Clock::time_point deadline);
  /// This rank has come to collective `number`: tells the store and does not wait.
  void mark(uint64_t number, const std::string& what) { send({Message::mark, number, "", what}); }
  /// The key that the store sets once all have come to collective `number` and to the same.
  static std::string agreed(uint64_t number) { return fmt::format("agreed {}", number); }
  /// Asks who did not come to collective `number`: nothing if all did. Rank 0 itself when it does not answer within `seconds`.
  std::optional<Fault> who_is_late(uint64_t number, double seconds);
  /// What there is, or comes within `seconds`.
  std::optional<Fault> wait_for_fault(double seconds);

  /// Looks, without a lock, whether there is a fault.
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  [[nodiscard]] Fault fault() const;

  /// The end of this rank: it needs no one, or it fails with this error.
  void goodbye() { leave({Message::goodbye, 0, "", ""}); }
  void failing(const Error& e) { leave({Message::failing, uint64_t(e.code()), "", e.what()}); }

  /// "rank 0 (host node1, pid 4711)".
  [[nodiscard]] const std::string& lead() const { return lead_; }
  /// This rank's address on the way to rank 0.
  [[nodiscard]] std::string address() const { return own_address(socket_); }
  double grace = 3;

 private:
  void check_stop() const;
  bool say_hello(Clock::time_point deadline, std::string& why);
  void send(const Message& m);
  void leave(const Message& m);
  void watch();
  /// False when the connection has ended.
  bool receive();
  void blame(const Fault& f);

  const Place place_;
  const std::function<void(const Fault&)> last_words_;
  const std::function<bool()> stop_;
  Socket socket_;
  std::string lead_;
  Inbox in_;
  std::mutex sending_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::map<uint64_t, std::optional<std::string>> answers_;  // to questions that are open; 0 is that of who_is_late()
  uint64_t questions_ = 0;
  bool left_ = false;
  Fault fault_;
  Clock::time_point failed_at_;
  std::atomic<bool> failed_{false}, ending_{false};
  std::thread thread_;
};

}  // namespace stflow
