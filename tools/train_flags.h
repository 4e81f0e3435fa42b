// The flags of stflow train, and the model that they describe.
#pragma once
#include <optional>
#include <string>

#include "model/config.h"
#include "tools/data_flags.h"
#include "tools/device_flag.h"
#include "tools/ranks.h"

namespace stflow {

struct TrainFlags {
  DataFlags data;
  DeviceFlag device;
  RankFlags ranks;
  std::string genes = "50", preset = "default", save_dir, reduce = "auto";
  std::string protocol = "split";
  bool overlap = true;
  bool resume = false, overwrite = false, maps = true, dry_run = false, clip = true;
  int64_t save_every = 50, eval_every = 0;
  std::optional<double> epochs, lr, dropout;
  std::optional<int64_t> batch_size, layers, hidden, heads, neighbors, sample_steps, samples, members;
  std::optional<std::string> prior, frames, gene_activation, standardize, solver;
  uint64_t seed = 1;
};

void declare_train(Options& o, TrainFlags& f);

/// The preset with what the flags change. Throws Exit::usage for what does not go together.
ModelConfig config_of(const TrainFlags& f);

}  // namespace stflow
