#include "tools/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "engine/distributed/plan.h"
#include "engine/file.h"
#include "engine/threads.h"
#include "tools/signals.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

// The main thread is in a long computation, or waits for a rank that is gone: it is not asked. Files are whole at any moment.
void end_process(const Fault& f) {
  terminal::error(f.text);
  _exit(int(f.code));
}

}  // namespace

void declare_ranks(Options& o, RankFlags& f) {
  o.section("Several processes");
  o.flag("init-timeout", &f.init_timeout, "seconds for all ranks to start and agree").range(0.1, 1e6);
  o.flag("collective-timeout", &f.collective_timeout, "seconds that ranks wait for one that does not come").range(0.1, 1e6);
  o.flag("check-collectives", &f.check_collectives, "before each exchange wait until all ranks have come to the same one: to find faults");
}

int as_rank(const RankFlags& f, const Options& o, const std::function<int(Team&)>& command) {
  const Place place = find_place();
  if (!place.launcher.empty()) expect_stop_twice();
  if (place.size > 1) {
    if (!o.given("threads")) set_thread_count(std::max(1, thread_count() / place.local_size));
    if (place.rank > 0) {
      terminal::Settings s = terminal::settings();
      s.quiet = s.mute = true;
      terminal::configure(s);
    }
  }
  Team team(place, {f.init_timeout, f.collective_timeout, end_process, stop_requested, f.check_collectives});
  try {
    return command(team);
  } catch (const Error& e) {
    team.leave(e);
    if (team.size() == 1 || e.code() == Exit::peer) throw;
    throw Error(e.code(), fmt::format("rank {}: {}", team.rank(), e.what()));
  } catch (const std::exception& e) {
    team.leave(Error(Exit::internal, e.what()));
    throw;
  }
}

std::string job_of(const Place& place) {
  if (place.launcher.empty()) return "";
  if (const auto slurm = from_environment("SLURM_JOB_ID"); slurm && !slurm->empty()) return "Slurm " + *slurm;
  char host[256] = "";
  (void)gethostname(host, sizeof host - 1);
  // Fields 3 to 22 of /proc/PID/stat follow the name in brackets; the last of them is when the process began.
  const std::string stat = read_text(fmt::format("/proc/{}/stat", getppid()));
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string began;
  for (int i = 3; i <= 22; i++) fields >> began;
  return fmt::format("{} {} {}", host, getppid(), began);
}

std::vector<bool> own_of(std::span<const int64_t> sizes, const Team& team, const char* verb) {
  const int items = int(sizes.size());
  if (items < team.size())
    terminal::warn("{} of {} ranks have nothing to {}: samples are shared as wholes and there are {}", team.size() - items, team.size(),
                   verb, items);
  std::vector<bool> own;
  for (const int owner : shares_of(sizes, team.size())) own.push_back(owner == team.rank());
  return own;
}

}  // namespace stflow
