// stflow train: from sections on disk to a model, its scores on held-out sections, and maps.
#include <chrono>
#include <nlohmann/json.hpp>

#include "data/feature_cache.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "engine/text.h"
#include "engine/version.h"
#include "tools/commands.h"
#include "tools/hest_bench.h"
#include "tools/run_folder.h"
#include "tools/signals.h"
#include "tools/train_run.h"

namespace stflow {
namespace {

Panel panel_of(const std::string& genes, const Dataset& data) {
  if (const auto count = parse_integer(genes)) {
    if (*count < 1) fail(Exit::usage, "--genes: found {}, expected at least 1", *count);
    return most_variable(data.of(Split::train), *count);
  }
  return read_panel(genes);
}

// What all ranks must have alike before they begin, a line each.
std::string agreement(const TrainFlags& f, const ModelConfig& config, const ChosenDevice& device) {
  return fmt::format(
      "device: {}\nprecision: {}\nnumerics: {}\nsave-every: {}\neval-every: {}\nresume: {}\nreduce: {}, overlap: {}, check: {}\ngenes: "
      "{}\n{}",
      device.context.device == Device::cuda ? "cuda" : "cpu", f.data.encoder.precision, kNumerics, f.save_every, f.eval_every, f.resume,
      f.reduce, f.overlap, f.ranks.check_collectives, f.genes, to_json(config).dump(0));
}

// The sections as read, a line each: before ranks exchange features.
std::string sections_text(const Dataset& data) {
  std::string text;
  for (const Section& s : data.sections) {
    const auto bytes = [](const auto& v) { return std::string_view(reinterpret_cast<const char*>(v.data()), v.size() * sizeof v[0]); };
    text += fmt::format("{}: {}, {} spots of {} genes, counts {:.12} in {:.12}, features {:.12}\n", s.sample(), name_of(s.split()),
                        s.size(), s.genes.size(), sha256(bytes(s.counts.value)), sha256(bytes(s.counts.column)), sha256(bytes(s.features)));
  }
  return text;
}

// A launcher started this job again: it goes on with what the failed start left in the run's folder, whatever --resume says. True when
// that start had got to its end, and nothing is left to do.
bool continues(Team& team, TrainFlags& f) {
  if (team.place().restart == 0 || f.dry_run) return false;
  using Left = RunFolder::Left;
  const Left found = team.lead() ? RunFolder::left_in(f.save_dir, job_of(team.place()), f.overwrite) : Left::nothing;
  const bool finished = found == Left::finished && !f.save_dir.empty();
  const std::string left = team.from_lead("run", finished ? "finished" : found == Left::unfinished ? "unfinished" : "nothing");
  if (left == "unfinished") f.resume = true;
  if (left == "finished") terminal::info("{}: the run is finished", f.save_dir);
  if (finished && terminal::settings().json) print_json(JsonOut::parse(read_text(f.save_dir + "/summary.json")));
  return left == "finished";
}

int train_as(Team& team, TrainFlags& f, const ModelConfig& config) {
  const auto start = std::chrono::steady_clock::now();
  ChosenDevice device = choose_device(f.device, team.place().local_rank);
  device.context = context_of(f.data.encoder.precision, device.context);
  team.same("configuration", agreement(f, config, device));
  Communicator& ranks = team.communicator(device.context);
  if (continues(team, f)) return 0;
  if (!f.dry_run && team.lead()) RunFolder::check_place(f.save_dir, f.resume, f.overwrite);

  if (f.data.path.empty()) f.data.path = shipped("data/samples/her2st");
  Dataset data = open_dataset(f.data.path, f.data.reading());
  for (const std::string& w : data.warnings) terminal::warn("{}", w);
  for (const std::string& n : data.notes) terminal::info("{}", n);
  for (const std::string& line : data.describe()) terminal::detailed("{}", line);
  if (data.of(Split::train).empty()) fail(Exit::data, "{}: split: no training section, expected one or more", data.path);
  if (data.of(Split::test).empty()) fail(Exit::data, "{}: split: no test section, expected one or more; name it with --test", data.path);
  const Panel panel = panel_of(f.genes, data);
  for (const Section& section : data.sections)  // a gene that is not there shows before features are computed
    if (section.split() != Split::none) (void)counts_of(section, panel, f.data.missing());
  if (team.size() > 1) team.same("data", sections_text(data));
  const auto encoder = add_features(data.sections, f.data.features(device.context), ranks);
  team.same("features", Json(encoder).dump(0));
  JsonOut summary;
  std::string report;
  const Exit end = train_run(team, f, f.resume, config, {data, panel, encoder, device}, start, summary, report);
  if (report.empty()) return int(end);
  if (terminal::settings().json) print_json(summary);
  else terminal::result(report);
  return int(end);
}

}  // namespace

int train(const Args& args) {
  TrainFlags f;
  f.data.options.min_counts = 10;
  Options o("train", "Trains STFlow on tissue sections and scores it on held-out ones.",
            "stflow train --data sections/manifest.csv --genes 100");
  declare_train(o, f);
  if (!o.parse(args)) return 0;
  const bool bench = f.protocol == "hest-bench";
  if (bench) check_hest_bench(o, f);
  const ModelConfig config = config_of(f);
  catch_stop_signals();
  return as_rank(f.ranks, o, [&](Team& team) { return bench ? train_hest_bench(team, f, config) : train_as(team, f, config); });
}

}  // namespace stflow
