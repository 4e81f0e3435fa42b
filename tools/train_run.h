// One training run: from sections with features to a model, its scores on held-out sections, and maps, in a folder.
#pragma once
#include <chrono>
#include <string>

#include "data/dataset.h"
#include "data/panel.h"
#include "tools/json_out.h"
#include "tools/train_flags.h"

namespace stflow {

struct TrainJob {
  const Dataset& data;  // with splits and features
  const Panel& panel;
  const Origin& encoder;  // what made the features
  const ChosenDevice& device;
  std::string resumes{};  // what --save-dir names to continue after a stop; "": the run's own folder
};

/// Trains on the sections of Split::train in f.save_dir and scores on those of Split::test. All ranks call it. `resume`: the folder holds a
/// run, which goes on. A finished run sets, on the rank that has its folder, `summary` as in summary.json and
/// `report`, a table. Returns Exit::ok, nothing being written under --dry-run, or Exit::preempted after a stop signal, with a checkpoint.
Exit train_run(Team& team, const TrainFlags& f, bool resume, const ModelConfig& config, const TrainJob& job,
               std::chrono::steady_clock::time_point start, JsonOut& summary, std::string& report);

}  // namespace stflow
