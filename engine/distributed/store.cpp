#include "engine/distributed/store.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/distributed/client.h"
#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

// A connection that says nothing is a stranger's: a port scanner's, or another program's.
constexpr double kSilence = 10;
// Seconds in which a running process answers.
constexpr double kRollCall = 2;
constexpr size_t kMostStrangers = 4096;

std::string host_name() {
  char name[256] = "";
  (void)gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

std::string rank_text(int rank, const std::string& host, int64_t pid) { return fmt::format("rank {} (host {}, pid {})", rank, host, pid); }

StoreServer::StoreServer(const Place& place, Clock::time_point deadline) : place_(place), members_(size_t(place.size)) {
  for (;;) {
    listener_ = listen_on(place.master, place.port);
    if (listener_) break;
    const int error = errno;
    if (error != EADDRINUSE || Clock::now() >= deadline)
      fail(Exit::peer, "rank 0: port {} of {}: {}, expected a free port; choose another MASTER_PORT", place.port, host_name(),
           std::strerror(error));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    fail(Exit::peer, "rank 0: no socket: {}", std::strerror(errno));
  wake_ = Socket(ends[0]), woken_ = Socket(ends[1]);
  thread_ = std::thread([this] { serve(); });
}

StoreServer::~StoreServer() {
  (void)send_all(wake_, "x");
  thread_.join();
}

std::string StoreServer::reached_as() const {
  std::lock_guard guard(lock_);
  return reached_as_;
}

void StoreServer::serve() {
  Clock::time_point end{};
  std::vector<pollfd> polled;
  for (;;) {
    if (ending_ && (finished() || Clock::now() >= end)) return;
    polled.assign({{woken_.fd(), short(ending_ ? 0 : POLLIN), 0}, {listener_.fd(), POLLIN, 0}});
    for (const Peer& p : peers_) polled.push_back({p.socket.fd(), short(p.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    if (::poll(polled.data(), polled.size(), ending_ || !callers_.empty() ? 20 : 1000) < 0 && errno != EINTR) return;
    if (!ending_ && polled[0].revents) ending_ = true, end = after(fault_.empty() ? patience : 2);
    std::lock_guard guard(lock_);
    size_t i = 2;
    for (auto p = peers_.begin(); p != peers_.end(); i++) {
      std::string why;
      const bool gone = (polled[i].revents & ~POLLOUT) ? !receive(*p, why) : p->rank < 0 && p->since < after(-kSilence);
      if (gone) {
        lost(*p, why);
        std::erase_if(questions_, [&](const Question& q) { return q.from == &*p; });
        std::erase(callers_, &*p);
        p = peers_.erase(p);
      } else {
        ++p;
      }
    }
    if (!callers_.empty() && Clock::now() >= call_end_) end_roll_call();
    for (Peer& p : peers_) flush(p);
    accept_all();
  }
}

void StoreServer::accept_all() {
  for (;;) {
    Socket s(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!s) return;
    if (peers_.size() >= size_t(place_.size) + kMostStrangers) continue;
    watch_connection(s);
    peers_.emplace_back();
    peers_.back().socket = std::move(s), peers_.back().since = Clock::now();
  }
}

bool StoreServer::receive(Peer& p, std::string& why) {
  char part[65536];
  const ssize_t n = ::recv(p.socket.fd(), part, sizeof part, 0);
  if (n == 0) return false;
  if (n < 0) {
    why = std::strerror(errno);
    return errno == EAGAIN || errno == EINTR;
  }
  try {
    p.in.add({part, size_t(n)});
    while (const auto m = p.in.next()) handle(p, *m);
  } catch (const Error& e) {
    why = e.what();
    return false;
  }
  return true;
}

void StoreServer::flush(Peer& p) {
  if (p.out.empty()) return;
  const ssize_t n = ::send(p.socket.fd(), p.out.data(), p.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0) p.out.erase(0, size_t(n));
  if (p.out.empty() && p.rank >= 0 && !fault_.empty()) members_[size_t(p.rank)].told = true;
}

void StoreServer::handle(Peer& p, const Message& m) {
  if (p.rank < 0) return greet(p, m);
  Member& who = members_[size_t(p.rank)];
  switch (m.kind) {
    case Message::set: return set_value(m.key, m.value);
    case Message::get:
      if (const auto found = values_.find(m.key); found != values_.end()) send(p, {Message::answer, m.number, "", found->second});
      else questions_.push_back({&p, m.number, m.key});
      return;
    case Message::mark: return mark(p.rank, m.number, m.value);
    case Message::late: return late(p, m.number);
    case Message::present: who.present = true; return;
    case Message::goodbye: who.left = true; return check_left();
    case Message::failing:
      who.left = true;
      // Whom a signal ended ends the others as a signal would have.
      return fault(Exit(m.number) == Exit::preempted ? int(Exit::preempted) : int(Exit::peer), who.name + " failed: " + m.value, p.rank);
    default: fail(Exit::peer, "store: a message of kind {}", int(m.kind));
  }
}

void StoreServer::set_value(const std::string& key, const std::string& value) {
  values_[key] = value;
  std::erase_if(questions_, [&](const Question& q) {
    if (q.key == key) send(*q.from, {Message::answer, q.number, "", value});
    return q.key == key;
  });
}

void StoreServer::greet(Peer& p, const Message& m) {
  if (m.kind != Message::hello) fail(Exit::peer, "store: no hello");
  const size_t first = m.key.find(' '), second = m.key.find(' ', first + 1);
  if (first == std::string::npos || second == std::string::npos) fail(Exit::peer, "store: a hello of '{}'", m.key);
  const auto size = parse_integer(m.key.substr(0, first)), restart = parse_integer(m.key.substr(first + 1, second - first - 1)),
             pid = parse_integer(m.key.substr(second + 1));
  if (!size || !restart || !pid || m.number >= uint64_t(std::max<int64_t>(*size, 0))) fail(Exit::peer, "store: a hello of '{}'", m.key);
  const std::string name = fmt::format("rank {} (host {}, pid {})", m.number, m.value, *pid);
  const auto refuse = [&](const std::string& why) { send(p, {Message::refusal, 0, "", why}); };
  if (*restart != place_.restart)  // one that an earlier start of the job left behind, or this one is
    return refuse(fmt::format("{}: from start {} of this job, expected start {} as rank 0", name, *restart, place_.restart));
  if (*size != place_.size) {
    const std::string why = fmt::format("{}: one of {} ranks, expected one of {} as rank 0", name, *size, place_.size);
    fault(int(Exit::peer), why);
    return refuse(why);
  }
  Member& who = members_[m.number];
  if (who.joined) return refuse(fmt::format("rank {} is {} already, expected each rank once", m.number, who.name));
  who.joined = true, who.name = name;
  p.rank = int(m.number);
  const std::string here = own_address(p.socket);
  if (!here.starts_with("127.") && here != "::1" && (p.rank > 0 || reached_as_.empty())) reached_as_ = here;
  send(p, {Message::welcome, uint64_t(getpid()), "", host_name()});
  if (!fault_.empty()) send(p, {Message::fault, uint64_t(fault_code_), "", fault_});
}

void StoreServer::mark(int rank, uint64_t number, const std::string& what) {
  Member& who = members_[size_t(rank)];
  who.seen = number, who.doing = fmt::format("collective {}: {}", number, what);
  auto [at, fresh] = collectives_.try_emplace(number, Collective{what, rank});
  Collective& c = at->second;
  if (c.what != what)
    return fault(int(Exit::peer), fmt::format("collective {}: {} came to {}, {} to {}, expected the same on every rank", number,
                                              members_[size_t(c.first)].name, c.what, who.name, what));
  if (++c.marks == place_.size) {
    collectives_.erase(at);
    values_.erase(StoreClient::agreed(number - 1));  // all have seen it, or do not ask
    set_value(StoreClient::agreed(number), "");
  }
  check_left();
}

// Nobody waits for a rank that has gone.
void StoreServer::check_left() {
  for (const Member& gone : members_)
    for (const Member& waits : members_)
      if (gone.left && !waits.left && waits.seen > gone.seen)
        return fault(int(Exit::peer), fmt::format("{} ended after {}, {} went on to {}", gone.name,
                                                  gone.doing.empty() ? "no collective" : gone.doing, waits.name, waits.doing));
}

void StoreServer::late(Peer& p, uint64_t number) {
  std::string names, doing;
  for (const Member& m : members_)
    if (!m.left && m.seen < number) {
      names += (names.empty() ? "" : ", ") + m.name;
      if (doing.empty()) doing = m.doing.empty() ? "no collective" : m.doing;
    }
  if (!names.empty())
    return fault(int(Exit::peer),
                 fmt::format("{} did not come to {} in time; last seen in {}", names, members_[size_t(p.rank)].doing, doing));
  if (callers_.empty()) {
    call_end_ = after(kRollCall);
    for (Member& m : members_) m.present = false;
    for (Peer& other : peers_)
      if (other.rank >= 0) send(other, {Message::roll_call, 0, "", ""});
  }
  callers_.push_back(&p);
}

// Who stopped in the middle of a collective came to it, but does not answer.
void StoreServer::end_roll_call() {
  std::string names, doing;
  for (const Member& m : members_)
    if (!m.left && !m.present) {
      names += (names.empty() ? "" : ", ") + m.name;
      if (doing.empty()) doing = m.doing;
    }
  if (!names.empty()) fault(int(Exit::peer), fmt::format("{} is frozen: no answer for {:g} s; last seen in {}", names, kRollCall, doing));
  for (Peer* p : callers_) send(*p, {Message::answer, 0, "", ""});
  callers_.clear();
}

// The first fault is the one to tell; what follows from it is noise.
void StoreServer::fault(int code, const std::string& text, int except) {
  if (!fault_.empty()) return;
  fault_ = text, fault_code_ = code;
  for (Peer& p : peers_)
    if (p.rank >= 0 && p.rank != except) send(p, {Message::fault, uint64_t(code), "", text});
}

void StoreServer::lost(Peer& p, const std::string& why) {
  if (p.rank < 0) return;
  Member& who = members_[size_t(p.rank)];
  const bool expected = who.left || who.told;
  who.left = true;
  if (expected) return;
  const std::string seen = who.doing.empty() ? "before the first collective" : "last seen in " + who.doing;
  fault(int(Exit::peer), why.empty() ? fmt::format("{} died: its connection closed without a goodbye; {}", who.name, seen)
                                     : fmt::format("{} is lost: {}; {}", who.name, why, seen));
}

bool StoreServer::finished() const {
  return std::all_of(members_.begin(), members_.end(), [&](const Member& m) { return !m.joined || m.left || m.told; }) &&
         std::all_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.out.empty(); });
}

}  // namespace stflow
