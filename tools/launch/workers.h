// The workers of one start of `stflow launch`: begun together, watched, stopped together.
#pragma once
#include <string>

#include "tools/launch/output.h"
#include "tools/launch/plan.h"

namespace stflow {

/// From its making on, the signals that end or inform a launcher wait in a descriptor, for poll(): SIGINT, SIGTERM, SIGUSR1, SIGCHLD,
/// and SIGHUP unless it is ignored (nohup).
class SignalQueue {
 public:
  SignalQueue();
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  /// The next one that waits; 0 when none does.
  int next();

 private:
  int fd_ = -1;
};

/// How one start ended.
struct Outcome {
  int code = 0;          // exit code: 0, the first failure's (128 + signal for a death by one), 75, 76 when no other failure is known
  bool again = true;     // another start may end better: not after a stop, nor after what would fail the same way
  bool stopped = false;  // a signal to the launcher came
  std::string line;      // the first failure: rank, local rank, host, pid, how it ended; "" if none failed
};

/// Starts all workers of this host, passes their output and the launcher's signals on, and returns when none is left.
///
/// Each worker leads a process group of its own and dies with the launcher, however that ends; what a worker leaves behind in its
/// group is killed with it. When one fails, the others get a few seconds to say so themselves, then SIGTERM, then after plan.grace
/// SIGKILL. A signal to the launcher goes on to the workers, with plan.grace to end; a second one kills them. SIGUSR1 is a stop for
/// stflow's commands and only passed on to other programs. Throws Exit::missing for a program that cannot be started.
Outcome run_workers(const LaunchPlan& plan, int port, int restart, SignalQueue& signals, Sink& out, Sink& err);

}  // namespace stflow
