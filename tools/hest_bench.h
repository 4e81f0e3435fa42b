// stflow train --protocol hest-bench: every fold of a task, and the results in HEST's files.
#pragma once
#include "tools/train_flags.h"

namespace stflow {

/// Sets what the protocol says where the user did not: no spot is left out for few counts, as HEST leaves out none. Throws Exit::usage for
/// a task that is not named and for flags that contradict the protocol (--genes, --train, --val, --test): before any work.
void check_hest_bench(const Options& o, TrainFlags& f);

/// Trains a model for each fold of f.data.path in <run>/fold_<i>/, on log(1 + counts) of the task's genes, features being made once for
/// all. With --resume finished folds stay, and an unfinished one goes on. Then writes, from the predictions of the folds as they are in
/// their files, <run>/<task>/<encoder>/split<i>/{results,summary}.json, <run>/<task>/<encoder>/results_kfold.json and
/// <run>/dataset_results.{csv,json}.
int train_hest_bench(Team& team, TrainFlags& f, const ModelConfig& config);

}  // namespace stflow
