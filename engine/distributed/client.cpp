#include "engine/distributed/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/distributed/store.h"

namespace stflow {
namespace {

std::string host_name() {
  char name[256] = "";
  (void)gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

StoreClient::StoreClient(const Place& place, Clock::time_point deadline, std::function<void(const Fault&)> last_words,
                         std::function<bool()> stop)
    : place_(place), last_words_(std::move(last_words)), stop_(std::move(stop)) {
  const auto start = Clock::now();
  for (std::string why; !say_hello(deadline, why);) {
    check_stop();
    if (Clock::now() >= deadline)
      fail(Exit::peer, "rank {}: {}:{}: {} for {:.0f} s, expected rank 0 there", place.rank, place.master, place.port, why,
           std::chrono::duration<double>(Clock::now() - start).count());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  thread_ = std::thread([this] { watch(); });
}

void StoreClient::check_stop() const {
  if (stop_ && stop_()) fail(Exit::preempted, "rank {}: stopped by a signal before the ranks had begun", place_.rank);
}

bool StoreClient::say_hello(Clock::time_point deadline, std::string& why) {
  socket_ = connect_to(place_.master, place_.port, deadline, why);
  if (!socket_) return false;
  why = "someone answers who is no stflow";
  in_ = Inbox();
  if (!send_all(socket_, encode({Message::hello, uint64_t(place_.rank), fmt::format("{} {} {}", place_.size, place_.restart, getpid()),
                                 host_name()})))
    return false;
  const auto patience = std::min(deadline, after(5));
  while (Clock::now() < patience && !(stop_ && stop_())) {
    pollfd p{socket_.fd(), POLLIN, 0};
    if (::poll(&p, 1, 100) < 0 && errno != EINTR) return false;
    if (!p.revents) continue;
    char part[4096];
    const ssize_t n = ::recv(socket_.fd(), part, sizeof part, MSG_DONTWAIT);
    if (n <= 0) return false;
    try {
      in_.add({part, size_t(n)});
      const auto m = in_.next();
      if (!m) continue;
      if (m->kind == Message::refusal) fail(Exit::peer, "{}", m->value);
      if (m->kind != Message::welcome) return false;
      lead_ = rank_text(0, m->value, int64_t(m->number));
      return true;
    } catch (const Error& e) {
      if (std::string_view(e.what()).starts_with("store: ")) return false;  // a stranger; rank 0 may still come
      throw;
    }
  }
  return false;
}

StoreClient::~StoreClient() {
  ending_ = true;
  ::shutdown(socket_.fd(), SHUT_RD);  // wakes the watch
  thread_.join();
}

Fault StoreClient::fault() const {
  std::lock_guard guard(lock_);
  return fault_;
}

void StoreClient::send(const Message& m) {
  std::lock_guard guard(sending_);
  if (!send_all(socket_, encode(m))) ::shutdown(socket_.fd(), SHUT_RDWR);  // the watch sees it and tells
}

void StoreClient::leave(const Message& m) {
  {
    std::lock_guard guard(lock_);
    left_ = true;
  }
  send(m);
}

std::optional<std::string> StoreClient::get(const std::string& key, Clock::time_point deadline) {
  std::unique_lock guard(lock_);
  const uint64_t number = ++questions_;
  answers_[number] = {};
  guard.unlock();
  send({Message::get, number, key, ""});
  guard.lock();
  const auto come = [&] { return failed() || answers_[number]; };
  bool stopped = false;
  while (!stopped && !changed_.wait_until(guard, std::min(deadline, after(0.1)), come) && Clock::now() < deadline)
    stopped = stop_ && stop_();
  std::optional<std::string> answer = answers_[number];
  answers_.erase(number);
  if (!answer && stopped) check_stop();
  if (!answer && failed()) throw Error(fault_.code, fmt::format("rank {}: {}", place_.rank, fault_.text));
  return answer;
}

std::optional<Fault> StoreClient::who_is_late(uint64_t number, double seconds) {
  std::unique_lock guard(lock_);
  answers_[0] = {};
  guard.unlock();
  send({Message::late, number, "", ""});
  guard.lock();
  if (!changed_.wait_until(guard, after(seconds), [&] { return failed() || answers_[0]; }))
    return Fault{Exit::peer, fmt::format("{} does not answer: frozen, or its host is", lead_)};
  if (!failed()) return {};
  return fault_;
}

std::optional<Fault> StoreClient::wait_for_fault(double seconds) {
  std::unique_lock guard(lock_);
  if (!changed_.wait_until(guard, after(seconds), [&] { return failed(); })) return {};
  return fault_;
}

void StoreClient::watch() {
  bool open = true;
  while (!ending_) {
    if (failed() && failed_at_ <= after(-grace)) {
      bool left = false;
      {
        std::lock_guard guard(lock_);
        left = left_;
      }
      if (!left && last_words_) last_words_(fault());
      return;
    }
    pollfd p{open ? socket_.fd() : -1, POLLIN, 0};
    if (::poll(&p, 1, 100) > 0 && p.revents) open = receive();
  }
}

bool StoreClient::receive() {
  char part[65536];
  const ssize_t n = ::recv(socket_.fd(), part, sizeof part, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    const bool closed = n == 0 || errno == ECONNRESET;
    blame({Exit::peer, closed ? lead_ + " died: its connection closed" : fmt::format("{} is lost: {}", lead_, std::strerror(errno))});
    return false;
  }
  try {
    in_.add({part, size_t(n)});
    while (const auto m = in_.next()) {
      if (m->kind == Message::roll_call) send({Message::present, 0, "", ""});
      if (m->kind == Message::fault) blame({Exit(m->number), m->value});
      if (m->kind != Message::answer) continue;
      std::lock_guard guard(lock_);
      if (const auto at = answers_.find(m->number); at != answers_.end()) at->second = m->value;
      changed_.notify_all();
    }
  } catch (const Error& e) {
    blame({Exit::peer, e.what()});
    return false;
  }
  return true;
}

void StoreClient::blame(const Fault& f) {
  std::lock_guard guard(lock_);
  if (failed() || left_ || ending_) return;
  fault_ = f, failed_at_ = Clock::now();
  failed_.store(true, std::memory_order_release);
  changed_.notify_all();
}

}  // namespace stflow
