// The ranks of one job: how they find each other, agree, and part.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/distributed/client.h"
#include "engine/distributed/communicator.h"
#include "engine/distributed/store.h"

namespace stflow {

struct TeamOptions {
  double init_timeout = 60;                      // seconds for all ranks to come, and for each agreement at the start
  double collective_timeout = 300;               // seconds that a collective waits for the last rank
  std::function<void(const Fault&)> last_words;  // see StoreClient
  std::function<bool()> stop = {};               // see StoreClient
  bool check_collectives = false;                // see Communicator::check_before()
};

/// Of one rank alone everything is at once true; nothing is opened.
class Team {
 public:
  /// Rank 0 opens the store, all connect to it and wait for each other; the program's binary must be the same on all. Throws
  /// Exit::peer naming who is missing or differs.
  Team(const Place& place, const TeamOptions& options);
  /// Says goodbye, unless leave() was called; rank 0 then waits for the others to leave.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  [[nodiscard]] const Place& place() const { return place_; }
  [[nodiscard]] int rank() const { return place_.rank; }
  [[nodiscard]] int size() const { return place_.size; }
  [[nodiscard]] bool lead() const { return place_.rank == 0; }

  /// The collectives, of the back end for this device. The first call connects; all ranks call it together.
  Communicator& communicator(const Context& context);

  /// All ranks must have the same lines of text. Throws Exit::peer with the first line that differs, naming the odd rank.
  void same(const std::string& what, const std::string& text);
  /// Rank 0's text, on every rank. Waits as long as rank 0 lives and runs, which is looked at every collective_timeout seconds.
  std::string from_lead(const std::string& what, const std::string& text);
  /// On rank 0: the texts of all ranks, in their order; waits for them, as from_lead() does. Elsewhere: nothing.
  std::vector<std::string> collect(const std::string& what, const std::string& text);
  /// This rank ends because of an error of its own, which is told to the others.
  void leave(const Error& e);

 private:
  [[nodiscard]] std::vector<std::string> all(const std::string& what, const std::string& text);
  [[nodiscard]] std::string wait_for(const std::string& key);
  [[nodiscard]] std::string name(size_t rank) const;

  const Place place_;
  const TeamOptions options_;
  std::unique_ptr<StoreServer> server_;  // on rank 0
  std::unique_ptr<StoreClient> client_;
  std::unique_ptr<Communicator> communicator_;
  std::vector<std::string> names_;
  int asked_ = 0;  // agreements so far: keys are used once
  bool left_ = false;
};

}  // namespace stflow
