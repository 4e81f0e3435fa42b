#include "tools/hest_bench.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/spatial/hest_bench.h"
#include "data/table.h"
#include "engine/file.h"
#include "engine/text.h"
#include "engine/version.h"
#include "model/folds.h"
#include "tools/features.h"
#include "tools/hest_results.h"
#include "tools/run_folder.h"
#include "tools/train_run.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;
using Left = RunFolder::Left;

std::string fold_folder(const std::string& run, size_t fold) { return run + "/fold_" + std::to_string(fold); }

// Where the run is: the folder given, or the next or last number in runs/. The same for all ranks. Throws as RunFolder does for one
// that cannot be used.
std::string run_of(Team& team, const TrainFlags& f) {
  std::string path;
  if (team.lead()) {
    path = RunFolder::place_of(f.save_dir, f.resume);
    if (!f.resume && !f.dry_run) RunFolder::check_place(path, false, f.overwrite);
    if (f.resume && !fs::is_directory(fold_folder(path, 0)))
      fail(Exit::missing, "{}: holds no run of a task's folds, expected one to resume", path);
  }
  return team.from_lead("run", path);
}

// All slides that the folds name, each once, with the spots that have a patch.
Dataset read_task(const HestBench& task, const TrainFlags& f) {
  Dataset data;
  data.path = f.data.path, data.layout = "HEST-bench";
  std::map<std::string, size_t> place;
  for (const HestSplit& fold : task.folds)
    for (const auto* group : {&fold.train, &fold.test})
      for (const HestSample& s : *group) {
        const auto [at, fresh] = place.emplace(s.sample, data.sections.size());
        if (!fresh) {
          const Source& known = data.sections[at->second].source;
          if (known.counts != s.expression || known.patches != s.patches)
            fail(Exit::data, "{}: splits: slide {} with {} and with {}, expected the same files in each fold", data.path, shown(s.sample),
                 known.counts, s.expression);
          continue;
        }
        Section section;
        section.source.sample = s.sample, section.source.patches = s.patches;
        section.source.counts = section.source.spots = s.expression;
        data.sections.push_back(std::move(section));
      }
  for (Section& s : data.sections) {
    read_section(s, f.data.reading(), data.warnings);
    if (s.features.empty()) keep_patched(s, data.warnings);
  }
  return data;
}

void set_splits(Dataset& data, const HestSplit& fold) {
  const auto in = [](const std::vector<HestSample>& group, const std::string& name) {
    return std::any_of(group.begin(), group.end(), [&](const HestSample& s) { return s.sample == name; });
  };
  for (Section& s : data.sections)
    s.source.split = in(fold.train, s.sample()) ? Split::train : in(fold.test, s.sample()) ? Split::test : Split::none;
}

// The predictions of one section as a run has written them: (N, G), in the section's order.
std::vector<float> read_predictions(const std::string& path, const Section& section, const std::vector<std::string>& genes) {
  const FileView file(path);
  Table table(file.text(), path, ',');
  const bool same = table.header().size() == genes.size() + 3 && std::equal(genes.begin(), genes.end(), table.header().begin() + 3);
  if (!same) fail(Exit::data, "{}: line 1: other columns, expected spot, x, y and the task's {} genes", path, genes.size());
  std::vector<float> values;
  size_t row = 0;
  for (; table.next(); row++) {
    if (row >= section.spots.size() || table.cell(0) != section.spots[row])
      table.refuse(0, shown(table.cell(0)) + ", expected the spots of " + section.sample());
    for (size_t g = 0; g < genes.size(); g++) values.push_back(float(table.number(g + 3)));
  }
  if (row != section.spots.size()) fail(Exit::data, "{}: {} spots, expected {}", path, row, section.spots.size());
  return values;
}

// From the files of a finished fold. Pearson and the rest are over the spots of all its test slides together.
HestFold score_fold(const Dataset& data, const Panel& panel, MissingGenes missing, const std::string& folder) {
  HestFold fold;
  fold.genes = panel.genes;
  std::vector<float> predictions, truth;
  for (const Section& s : data.sections) {
    if (s.split() == Split::train) fold.train_spots += s.size();
    if (s.split() != Split::test) continue;
    fold.test_spots += s.size();
    const std::vector<float> p = read_predictions(folder + "/predictions/" + s.sample() + ".csv", s, panel.genes);
    const std::vector<float> t = log1p(counts_of(s, panel, missing).values);
    predictions.insert(predictions.end(), p.begin(), p.end()), truth.insert(truth.end(), t.begin(), t.end());
  }
  const auto g = int64_t(panel.genes.size());
  fold.scores = score(matrix(predictions, g), matrix(truth, g));
  return fold;
}

// What HEST calls the encoder: a folder's and a column's name.
std::string encoder_name(const TrainFlags& f, const Origin& origin) {
  if (origin.at("kind") != "encoder") return "precomputed";
  const std::string name = fs::path(f.data.encoder.encoder).stem().string();
  return name.empty() ? "stflow" : name;
}

void write_results(const std::string& run, const std::string& task, const std::string& encoder, const std::vector<HestFold>& folds) {
  const std::string folder = run + "/" + task + "/" + encoder;
  for (size_t i = 0; i < folds.size(); i++) write_hest_fold(folder + "/split" + std::to_string(i), folds[i]);
  const HestResult all = write_hest_folds(folder, task, encoder, folds);
  write_hest_datasets(run, {all});
  std::string text;
  JsonOut json{{"run", run}, {"task", task}, {"encoder", encoder}, {"folds", JsonOut::array()}};
  for (size_t i = 0; i < folds.size(); i++) {
    const HestFold& fold = folds[i];
    text +=
        fmt::format("fold {}: {} spots, Pearson {:.4f} over {} genes\n", i, fold.test_spots, fold.scores.mean_pearson, fold.genes.size());
    json["folds"].push_back({{"n_train", fold.train_spots}, {"n_test", fold.test_spots}, {"pearson_mean", fold.scores.mean_pearson}});
  }
  json["pearson_mean"] = all.pearson_mean, json["pearson_std"] = all.pearson_std;
  text += fmt::format("{}: Pearson {:.4f}, standard deviation over folds {:.4f}; {}/results_kfold.json", task, all.pearson_mean,
                      all.pearson_std, folder);
  if (terminal::settings().json) print_json(json);
  else terminal::result(text);
}

}  // namespace

void check_hest_bench(const Options& o, TrainFlags& f) {
  if (f.data.path.empty()) fail(Exit::usage, "--data: found nothing, expected the folder of a HEST-bench task");
  for (const char* flag : {"genes", "train", "val", "test"})
    if (o.given(flag)) fail(Exit::usage, "--{}: given with --protocol hest-bench, expected none: the task has genes and folds", flag);
  if (!o.given("min-counts")) f.data.options.min_counts = 0;
}

int train_hest_bench(Team& team, TrainFlags& f, const ModelConfig& config) {
  const auto start = std::chrono::steady_clock::now();
  ChosenDevice device = choose_device(f.device, team.place().local_rank);
  device.context = context_of(f.data.encoder.precision, device.context);
  team.same("configuration", fmt::format("protocol: hest-bench\nprecision: {}\nnumerics: {}\nsave-every: {}\nresume: {}\nreduce: {}\n{}",
                                         f.data.encoder.precision, kNumerics, f.save_every, f.resume, f.reduce, to_json(config).dump(0)));
  const HestBench task = read_hest_bench(f.data.path);
  if (team.place().restart > 0 && !f.dry_run && !f.save_dir.empty()) f.resume = fs::is_directory(fold_folder(f.save_dir, 0));
  const std::string run = run_of(team, f);
  Dataset data = read_task(task, f);
  for (const std::string& w : data.warnings) terminal::warn("{}", w);
  const Panel panel{task.genes, "the task's"};
  for (const Section& s : data.sections) (void)counts_of(s, panel, f.data.missing());  // what lacks a gene shows before any work
  const Origin encoder = add_features(data.sections, f.data.features(device.context), team.communicator(device.context));
  team.same("features", Json(encoder).dump(0));

  std::vector<HestFold> folds;
  for (size_t i = 0; i < task.folds.size(); i++) {
    set_splits(data, task.folds[i]);
    TrainFlags own = f;
    own.save_dir = fold_folder(run, i);
    const Left left = team.lead() && f.resume ? RunFolder::left_in(own.save_dir, job_of(team.place()), false) : Left::nothing;
    const std::string next = team.from_lead("fold", left == Left::finished ? "nothing" : left == Left::unfinished ? "resume" : "train");
    terminal::info("fold {} of {}: {}", i + 1, task.folds.size(), next == "nothing" ? "finished before" : own.save_dir);
    if (next != "nothing") {
      JsonOut summary;
      std::string report;
      const Exit end = train_run(team, own, next == "resume", config, {data, panel, encoder, device, run}, start, summary, report);
      if (end != Exit::ok) return int(end);
    }
    if (team.lead() && !f.dry_run) folds.push_back(score_fold(data, panel, f.data.missing(), own.save_dir));
  }
  if (folds.empty()) return 0;
  fs::path name = fs::absolute(f.data.path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  write_results(run, name.filename().string(), encoder_name(f, encoder), folds);
  return 0;
}

}  // namespace stflow
