// The rendezvous store of a job: a small key-value server that rank 0 opens, and the judge of who is alive.
//
// Every rank holds one connection. A rank that says goodbye needs no one any more; one whose connection closes without has died. What a
// rank comes to is marked: marks that differ, ranks that left before others went on, and ranks that did not come are told to all.
#pragma once
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/distributed/message.h"
#include "engine/distributed/place.h"
#include "engine/distributed/sockets.h"

namespace stflow {

/// "rank 2 (host node7, pid 4711)".
std::string rank_text(int rank, const std::string& host, int64_t pid);

class StoreServer {
 public:
  /// Opens place.port of this host and serves from a thread. A port that is in use is tried until `deadline`. Throws Exit::peer naming it.
  StoreServer(const Place& place, Clock::time_point deadline);
  /// Ends once every rank that came has left, or was told of a fault; `patience` seconds at most.
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  /// The address under which ranks on other hosts reached this one; empty when all are on this host.
  [[nodiscard]] std::string reached_as() const;
  double patience = 30;

 private:
  struct Peer {
    Socket socket;
    Inbox in;
    std::string out;
    int rank = -1;  // until its hello
    Clock::time_point since;
  };
  struct Member {
    bool joined = false, left = false, told = false, present = false;
    std::string name;  // rank_text()
    uint64_t seen = 0;
    std::string doing;  // the last collective that it came to
  };
  struct Question {
    Peer* from;
    uint64_t number;
    std::string key;
  };
  struct Collective {
    std::string what;
    int first = 0, marks = 0;
  };

  void serve();
  void accept_all();
  /// False when the connection has ended; `why` says how.
  bool receive(Peer& p, std::string& why);
  void flush(Peer& p);
  void send(Peer& p, const Message& m) { p.out += encode(m); }
  void handle(Peer& p, const Message& m);
  void set_value(const std::string& key, const std::string& value);
  void greet(Peer& p, const Message& m);
  void mark(int rank, uint64_t number, const std::string& what);
  void late(Peer& p, uint64_t number);
  void end_roll_call();
  void check_left();
  void fault(int code, const std::string& text, int except = -1);
  void lost(Peer& p, const std::string& why);
  [[nodiscard]] bool finished() const;

  const Place place_;
  Socket listener_, wake_, woken_;
  mutable std::mutex lock_;  // reached_as_, which others look at
  std::list<Peer> peers_;
  std::vector<Member> members_;
  std::map<std::string, std::string> values_;
  std::vector<Question> questions_;
  std::map<uint64_t, Collective> collectives_;
  std::string fault_, reached_as_;
  int fault_code_ = 0;
  // Who waits for the end of a roll call, and when that is: all came to a collective that does not end.
  std::vector<Peer*> callers_;
  Clock::time_point call_end_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace stflow
