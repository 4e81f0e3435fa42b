#include "tools/launch/workers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <filesystem>
#include <optional>

#include "engine/error.h"
#include "tools/terminal.h"

extern char** environ;

namespace stflow {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr double kPeers = 5;    // for the peers of a failed worker to notice and to say what they know
constexpr double kDrain = 1;    // for output that something out of reach still holds a pipe to
constexpr double kKilled = 10;  // for the kernel to end what was killed

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name ? std::string("SIG") + name : fmt::format("signal {}", number);
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> p;
  for (auto& w : words) p.push_back(w.data());
  p.push_back(nullptr);
  return p;
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      fail(Exit::memory, "pipe: {}; fewer workers on this host need fewer files", std::strerror(errno));
    read = ends[0], write = ends[1];
  }
  Pipe(const Pipe&) = delete;
  ~Pipe() { close_read(), close_write(); }
  void close_read() { close_end(read); }
  void close_write() { close_end(write); }

 private:
  static void close_end(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

struct Worker {
  int local_rank = 0, status = 0;
  pid_t pid = -1;
  bool alive = false;
  Pipe pipes[2];  // its stdout and stderr
  std::vector<WorkerStream> streams;

  // As a shell counts.
  [[nodiscard]] int code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }
};

// In the child: becomes the program, or tells why not through `trouble`.
[[noreturn]] void become(const LaunchPlan& plan, const Worker& w, int trouble, pid_t launcher, const std::string& program, char** argv,
                         char** envp) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) ::_exit(128 + SIGKILL);  // it died before that
  for (const int number : {SIGPIPE, SIGXFSZ}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDONLY);
  if (null >= 0 && ::dup2(null, 0) >= 0 && ::dup2(w.pipes[0].write, 1) >= 0 && ::dup2(w.pipes[1].write, 2) >= 0) {
    if (null > 2) ::close(null);
    ::execvpe(program.c_str(), argv, envp);
    if (plan.stflow) ::execve("/proc/self/exe", argv, envp);  // its file was replaced meanwhile
  }
  const int error = errno;
  (void)!::write(trouble, &error, sizeof error);
  ::_exit(127);
}

class Workers {
 public:
  Workers(const LaunchPlan& plan, SignalQueue& signals, Sink& out, Sink& err)
      : plan_(plan), signals_(signals), out_(out), err_(err), workers_(size_t(plan.ranks)) {}
  ~Workers() {
    for (Worker& w : workers_)
      if (w.alive) ::kill(-w.pid, SIGKILL), ::waitpid(w.pid, nullptr, 0);
  }
  Workers(const Workers&) = delete;

  void start(int port, int restart);
  Outcome watch();

 private:
  // running -> failing (one failed: the others' time to speak) -> stopping (they got a signal) -> killed
  enum class Phase { running, failing, stopping, killed };

  void open_streams(Worker& w, int restart);
  void start(Worker& w, int port, int restart);
  void wait_and_pass_on();
  void read(Worker& w, int stream);
  void reap();
  void on_signal(int number);
  void on_deadline();
  void send(int number);
  void kill_all();
  void enter(Phase phase, double seconds) {
    phase_ = phase;
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
  }
  [[nodiscard]] bool any_alive() const {
    return std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return w.alive; });
  }
  [[nodiscard]] bool any_open() const {
    return std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return w.pipes[0].read >= 0 || w.pipes[1].read >= 0; });
  }
  [[nodiscard]] std::string text_of(const Worker& w) const;
  [[nodiscard]] Outcome outcome() const;
  template <class... A> void say(fmt::format_string<A...> f, A&&... a) {
    err_.write_some();
    terminal::warn(f, std::forward<A>(a)...);
  }

  const LaunchPlan& plan_;
  SignalQueue& signals_;
  Sink &out_, &err_;
  std::vector<Worker> workers_;
  std::vector<const Worker*> failed_;  // in the order in which they ended, up to the first signal to them
  Phase phase_ = Phase::running;
  std::optional<Clock::time_point> deadline_;
  int stop_signal_ = 0, sent_ = 0;  // the user's; the last that went to the workers
  bool given_up_ = false;           // a second signal came
};

void Workers::open_streams(Worker& w, int restart) {
  const int rank = plan_.rank(w.local_rank);
  const std::string prefix = plan_.size() > 1 ? fmt::format("[rank {}] ", rank) : "";
  for (const bool is_out : {true, false}) {
    const bool result = is_out && rank == 0;  // nothing but what rank 0 wrote, byte for byte
    Sink* sink = result ? &out_ : &err_;
    std::string file;
    if (!plan_.log_dir.empty()) {
      file = fmt::format("{}/attempt_{}/{}/{}", plan_.log_dir, plan_.restarts_before + restart, rank, is_out ? "stdout.log" : "stderr.log");
    }
    w.streams.emplace_back(plan_.shown[size_t(w.local_rank)] ? sink : nullptr, result ? "" : prefix, !result, file);
  }
}

void Workers::start(int port, int restart) {
  for (size_t i = 0; i < workers_.size(); i++) {
    workers_[i].local_rank = int(i);
    open_streams(workers_[i], restart);
  }
  for (Worker& w : workers_) start(w, port, restart);
}

void Workers::start(Worker& w, int port, int restart) {
  std::vector<std::string> inherited;
  for (char** e = environ; *e; e++) inherited.emplace_back(*e);
  std::vector<std::string> environment = worker_environment(plan_, w.local_rank, port, restart, inherited), words = plan_.command;
  std::string program = plan_.command[0];
  if (plan_.stflow) {
    program = std::filesystem::read_symlink("/proc/self/exe").string();
    words.insert(words.begin(), program);
  }
  auto argv = pointers(words), envp = pointers(environment);
  Pipe trouble;
  const pid_t launcher = ::getpid(), child = ::fork();
  if (child < 0) fail(Exit::memory, "fork: {}, expected to start {} workers", std::strerror(errno), plan_.ranks);
  if (child == 0) become(plan_, w, trouble.write, launcher, program, argv.data(), envp.data());
  ::setpgid(child, child);  // here too: whichever comes first
  w.pid = child;
  w.alive = true;
  for (Pipe& p : w.pipes) p.close_write();
  trouble.close_write();
  int error = 0;
  ssize_t got = 0;
  while ((got = ::read(trouble.read, &error, sizeof error)) < 0 && errno == EINTR) {}
  if (got == sizeof error) fail(Exit::missing, "{}: {}, expected a program that can be started", program, std::strerror(error));
}

Outcome Workers::watch() {
  std::optional<Clock::time_point> drained;  // how long output may still come when no worker is left
  while (any_alive() || any_open()) {
    const bool behind = (out_.full() || err_.full()) && !stop_signal_;  // a slow reader of the launcher, which will get it all
    if (!any_alive() && (!drained || behind))
      deadline_ = drained = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(kDrain));
    wait_and_pass_on();
    for (int number = signals_.next(); number != 0; number = signals_.next()) number == SIGCHLD ? reap() : on_signal(number);
    reap();  // several SIGCHLD may have become one
    if (!deadline_ || Clock::now() < *deadline_) continue;
    deadline_.reset();
    if (drained) break;
    if (phase_ == Phase::killed) break;  // not even that ended them
    on_deadline();
  }
  for (Worker& w : workers_)
    for (WorkerStream& s : w.streams) s.end();
  for (const Worker& w : workers_)
    if (w.alive) say("rank {} (pid {}) hangs in the kernel and cannot be killed", plan_.rank(w.local_rank), w.pid);
  return outcome();
}

// Waits until something happens, then moves output on.
void Workers::wait_and_pass_on() {
  std::vector<pollfd> set{{signals_.fd(), POLLIN, 0}};
  std::vector<std::pair<Worker*, int>> pipes;
  for (Sink* sink : {&out_, &err_})
    if (sink->waiting()) set.push_back({sink->fd(), POLLOUT, 0});
  const size_t first = set.size();
  for (Worker& w : workers_)
    for (int i = 0; i < 2; i++) {
      const Sink* sink = w.streams[size_t(i)].sink();
      if (w.pipes[i].read < 0 || (sink && sink->full())) continue;
      set.push_back({w.pipes[i].read, POLLIN, 0});
      pipes.emplace_back(&w, i);
    }
  int milliseconds = -1;
  if (deadline_)
    milliseconds = int(std::clamp<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now()).count(), 0, 60'000));
  if (::poll(set.data(), set.size(), milliseconds) < 0) return;  // EINTR
  for (size_t i = 0; i < pipes.size(); i++)
    if (set[first + i].revents) read(*pipes[i].first, pipes[i].second);
  out_.write_some();
  err_.write_some();
}

void Workers::read(Worker& w, int stream) {
  std::array<char, size_t{1} << 15> bytes{};
  const ssize_t got = ::read(w.pipes[stream].read, bytes.data(), bytes.size());
  if (got > 0) w.streams[size_t(stream)].add({bytes.data(), size_t(got)});
  else if (got == 0 || errno != EINTR) w.pipes[stream].close_read();
}

void Workers::reap() {
  for (Worker& w : workers_) {
    siginfo_t info{};
    if (!w.alive || ::waitid(P_PID, id_t(w.pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) continue;
    ::kill(-w.pid, SIGKILL);  // what it left behind; its own number is not free before the next line
    ::waitpid(w.pid, &w.status, 0);
    w.alive = false;
    if (w.code() == 0) continue;
    const bool preempted = w.code() == int(Exit::preempted);
    if (phase_ == Phase::running) enter(Phase::failing, preempted ? plan_.grace : std::min(kPeers, plan_.grace)), failed_.push_back(&w);
    else if (phase_ == Phase::failing || stop_signal_) failed_.push_back(&w);
  }
}

void Workers::on_signal(int number) {
  if (number == SIGUSR1 && !plan_.stflow) return send(number);
  if (stop_signal_) {
    given_up_ = true;
    stop_signal_ = number;
    say("{}: the second signal, killing all ranks", signal_name(number));
    return kill_all();
  }
  stop_signal_ = number;
  if (phase_ == Phase::killed) return;
  send(number == SIGHUP ? SIGTERM : number);  // stflow's commands know no SIGHUP
  enter(Phase::stopping, plan_.grace);
}

void Workers::on_deadline() {
  if (phase_ == Phase::failing) {
    send(SIGTERM);
    send(SIGCONT);  // a stopped process takes no other signal
    return enter(Phase::stopping, plan_.grace);
  }
  std::vector<std::string> names;
  for (const Worker& w : workers_)
    if (w.alive) names.push_back(std::to_string(plan_.rank(w.local_rank)));
  say("rank {}: no end within {} s of {}, killed", fmt::format("{}", fmt::join(names, ", ")), plan_.grace, signal_name(sent_));
  kill_all();
}

// stflow's own children (readers of HDF5) end with it; another program may be a script whose children have to know too.
void Workers::send(int number) {
  if (number != SIGCONT) sent_ = number;
  for (const Worker& w : workers_)
    if (w.alive) ::kill(plan_.stflow ? w.pid : -w.pid, number);
}

void Workers::kill_all() {
  for (const Worker& w : workers_)
    if (w.alive) ::kill(-w.pid, SIGKILL);
  enter(Phase::killed, kKilled);
}

std::string Workers::text_of(const Worker& w) const {
  const std::string how = WIFEXITED(w.status) ? fmt::format("ended with exit code {}", WEXITSTATUS(w.status))
                                              : fmt::format("was killed by {}", signal_name(WTERMSIG(w.status)));
  return fmt::format("rank {} (local rank {}, host {}, pid {}) {}", plan_.rank(w.local_rank), w.local_rank, host_name(), w.pid, how);
}

Outcome Workers::outcome() const {
  Outcome o;
  o.stopped = stop_signal_ != 0;
  if (given_up_) return {128 + stop_signal_, false, true, ""};
  const auto asked = [&](const Worker* w) { return stop_signal_ && WIFSIGNALED(w->status) && WTERMSIG(w->status) == sent_; };
  const auto is = [](const Worker* w, Exit e) { return w->code() == int(e); };
  // A worker that ended for a reason of its own goes before one that was asked to, that before one that lost its peers.
  const Worker* first = nullptr;
  int best = INT_MAX;
  for (const Worker* w : failed_) {
    const int order = is(w, Exit::peer) ? 2 : is(w, Exit::preempted) || asked(w) ? 1 : 0;
    if (order < best) best = order, first = w;
  }
  if (first) o.code = first->code();
  if (first && best != 1) o.line = text_of(*first);
  o.again = first && best != 1 && !stop_signal_;
  for (const Exit same : {Exit::usage, Exit::data, Exit::missing, Exit::create})
    if (first && plan_.stflow && is(first, same)) o.again = false;
  return o;
}

}  // namespace

SignalQueue::SignalQueue() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGHUP}) {
    struct sigaction now {};
    if (number == SIGHUP && ::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaddset(&set, number);
  }
  ::signal(SIGCHLD, SIG_DFL);  // ignored, there would be no exit codes
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) fail(Exit::memory, "signalfd: {}", std::strerror(errno));
}

SignalQueue::~SignalQueue() { ::close(fd_); }

int SignalQueue::next() {
  signalfd_siginfo info{};
  return ::read(fd_, &info, sizeof info) == sizeof info ? int(info.ssi_signo) : 0;
}

Outcome run_workers(const LaunchPlan& plan, int port, int restart, SignalQueue& signals, Sink& out, Sink& err) {
  Workers workers(plan, signals, out, err);
  workers.start(port, restart);
  return workers.watch();
}

}  // namespace stflow
