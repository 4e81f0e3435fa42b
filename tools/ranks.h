// A command as one of several processes.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/distributed/team.h"
#include "tools/options.h"

namespace stflow {

struct RankFlags {
  double init_timeout = 60, collective_timeout = 300;
  bool check_collectives = false;
};

/// Declares --init-timeout, --collective-timeout and --check-collectives.
void declare_ranks(Options& o, RankFlags& f);

/// Finds the other ranks of the job, if the environment says that there are any (engine/distributed/place.h), runs `command`, and parts
/// from them. Only rank 0 speaks; errors name their rank. The cores of a host are divided among its ranks unless --threads is given.
/// An error of `command` is told to the other ranks, which end with 76; an error of theirs ends this one.
int as_rank(const RankFlags& f, const Options& o, const std::function<int(Team&)>& command);

/// What the starts of one job have in common and no other job has: Slurm's number of it, else the process that starts its ranks. "" for a
/// process of its own.
std::string job_of(const Place& place);

/// Which of the items of these sizes are this rank's, shared as wholes without a word to the others; warns of ranks that have none to
/// `verb` ("predict").
std::vector<bool> own_of(std::span<const int64_t> sizes, const Team& team, const char* verb);

}  // namespace stflow
