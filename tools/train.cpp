// stflow train: from sections on disk to a model, its scores on held-out sections, and maps.
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/feature_cache.h"
#include "engine/cores.h"
#include "engine/device.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "engine/text.h"
#include "engine/threads.h"
#include "engine/version.h"
#include "model/fit.h"
#include "tools/commands.h"
#include "tools/data_flags.h"
#include "tools/device_flag.h"
#include "tools/features.h"
#include "tools/ranks.h"
#include "tools/report.h"
#include "tools/run_folder.h"
#include "tools/signals.h"

namespace stflow {
namespace {

struct TrainFlags {
  DataFlags data;
  DeviceFlag device;
  RankFlags ranks;
  std::string genes = "50", preset = "default", save_dir, reduce = "auto";
  bool overlap = true;
  bool resume = false, overwrite = false, maps = true, dry_run = false, clip = true;
  int64_t save_every = 50, eval_every = 0;
  std::optional<double> epochs, lr, dropout;
  std::optional<int64_t> batch_size, layers, hidden, heads, neighbors, sample_steps, samples, members;
  std::optional<std::string> prior, frames, gene_activation, standardize, solver;
  uint64_t seed = 1;
};

void declare(Options& o, TrainFlags& f) {
  declare_data(o, f.data);
  o.flag("genes", &f.genes, "how many of the most variable genes, or a panel file (var_50genes.json)").placeholder("N|FILE");
  o.section("Model");
  o.flag("preset", &f.preset, "default: ours; reference: as the authors' code").choices({"default", "reference"});
  o.flag("n-layers", &f.layers, "spatial attention layers").range(1, 16);
  o.flag("hidden-dim", &f.hidden, "width of tokens and edges").range(4, 1024);
  o.flag("n-heads", &f.heads, "attention heads").range(1, 64);
  o.flag("n-neighbors", &f.neighbors, "neighbours of a spot").range(1, 256);
  o.flag("dropout", &f.dropout, "dropout rate everywhere").range(0, 0.9);
  o.flag("members", &f.members, "denoisers trained from different seeds and averaged").range(1, kMostMembers);
  o.flag("prior", &f.prior, "zinb, zinb:fixed, nb:moments, gaussian or zero");
  o.flag("frames", &f.frames, "frame averaging: exact or reference").choices({"exact", "reference"});
  o.flag("gene-activation", &f.gene_activation, "on each layer's genes: none or relu").choices({"none", "relu"});
  o.flag("standardize", &f.standardize, "to mean 0 and sd 1: none, features or all (features and targets)")
      .choices({"none", "features", "all"});
  o.section("Training");
  o.flag("epochs", &f.epochs, "passes over the training sections").range(0.01, 1e6);
  o.flag("batch-size", &f.batch_size, "items of a step").range(1, 4096);
  o.flag("lr", &f.lr, "learning rate").range(1e-9, 10);
  o.flag("seed", &f.seed, "of everything that is drawn");
  o.section("Sampling");
  o.flag("n-sample-steps", &f.sample_steps, "points of the time grid; one evaluation fewer").range(2, 1000);
  o.flag("samples", &f.samples, "draws that are averaged").range(1, 4096);
  o.flag("solver", &f.solver, "euler or heun").choices({"euler", "heun"});
  o.section("Run");
  o.flag("save-dir", &f.save_dir, "folder of the run; without it the next free number in runs/").placeholder("DIR");
  o.flag("resume", &f.resume, "continue the run in --save-dir, or the last one in runs/");
  o.flag("overwrite", &f.overwrite, "replace an earlier run in --save-dir");
  o.flag("save-every", &f.save_every, "steps between checkpoints").at_least(1);
  o.flag("eval-every", &f.eval_every, "epochs between scores on the test sections in metrics.jsonl (nothing is chosen by them); 0: never")
      .at_least(0);
  o.flag("maps", &f.maps, "PNG maps of the best genes");
  o.flag("clip", &f.clip, "no negative values in predictions/*.csv");
  o.flag("dry-run", &f.dry_run, "show the plan and stop");
  declare_device(o, f.device);
  declare_ranks(o, f.ranks);
  o.flag("reduce", &f.reduce,
         "order in which gradients of several ranks are added: ordered gives the bits of one rank at any number of them; fast is the order "
         "of NCCL or Gloo; auto: ordered on the CPU, fast on GPUs")
      .choices({"auto", "ordered", "fast"});
  o.flag("overlap", &f.overlap,
         "with fast on GPUs: exchange the gradients of some layers while those of others are computed; the same bits");
}

ModelConfig config_of(const TrainFlags& f) {
  ModelConfig c = preset(f.preset);
  auto set = [](const auto& from, auto& into) {
    if (from) into = static_cast<std::remove_reference_t<decltype(into)>>(*from);
  };
  set(f.layers, c.denoiser.layers), set(f.hidden, c.denoiser.hidden), set(f.hidden, c.denoiser.pairwise), set(f.heads, c.denoiser.heads);
  set(f.dropout, c.denoiser.dropout), set(f.dropout, c.denoiser.attention_dropout), set(f.neighbors, c.geometry.neighbors);
  set(f.epochs, c.epochs), set(f.batch_size, c.training.batch), set(f.lr, c.training.adam.lr);
  set(f.sample_steps, c.sample_steps), set(f.samples, c.samples), set(f.members, c.members);
  if (f.prior) c.prior = prior_kind(*f.prior);
  if (f.frames) c.geometry.frames = *f.frames == "exact" ? FrameMode::exact : FrameMode::reference;
  if (f.gene_activation) c.denoiser.gene_relu = *f.gene_activation == "relu";
  if (f.standardize) c.standardize_features = *f.standardize != "none", c.standardize_targets = *f.standardize == "all";
  if (f.solver) c.solver = *f.solver == "heun" ? Solver::heun : Solver::euler;
  c.seed = f.seed;
  if (f.eval_every > 0 && c.members > 1)
    fail(Exit::usage, "--eval-every: found {} with {} members, expected --members 1", f.eval_every, c.members);
  check_sizes(c);
  return c;
}

struct Slides {
  std::vector<Slide> train, val, test;
  std::vector<const Section*> val_sections, test_sections;
};

Panel panel_of(const std::string& genes, const Dataset& data) {
  if (const auto count = parse_integer(genes)) {
    if (*count < 1) fail(Exit::usage, "--genes: found {}, expected at least 1", *count);
    return most_variable(data.of(Split::train), *count);
  }
  return read_panel(genes);
}

// Trains to the end, or to a stop signal: then there is a checkpoint and Stopped is thrown.
// Of several ranks all stop after the same step, and the one with the run's folder writes.
void train_loop(Fit& fit, RunFolder* run, const TrainFlags& f, const std::vector<Slide>& test, Communicator& ranks) {
  const int64_t per_stage = fit.steps_per_stage(), all = per_stage * fit.stages();
  const auto g = int64_t(fit.current().genes.size());
  const int64_t eval_steps = f.eval_every * std::max<int64_t>(1, std::llround(double(per_stage) / fit.config().epochs));
  terminal::Progress progress("train", all);
  std::string stage_name = fit.stage_name();
  for (StepReport r; true;) {
    const int stage = fit.stage();
    if (!fit.step(r)) return;
    if (stop_requested()) ranks.ask_to_stop();
    const int64_t done = stage * per_stage + r.step;
    const bool stop = ranks.stop_agreed();
    if (run)
      run->metric(fmt::format(R"({{"stage":{},"step":{},"loss":{},"grad_norm":{},"lr":{}}})", stage, r.step, shortest(r.loss),
                              shortest(r.grad_norm), shortest(r.lr)));
    if (run && eval_steps > 0 && r.step % eval_steps == 0) {
      double pearson = 0;
      std::vector<float> all_predictions, truth;
      for (const Slide& s : test) {
        const std::vector<float> p = fit.current().predict(s).mean, t = log1p(s.counts);
        all_predictions.insert(all_predictions.end(), p.begin(), p.end()), truth.insert(truth.end(), t.begin(), t.end());
      }
      pearson = score(matrix(all_predictions, g), matrix(truth, g)).mean_pearson;
      run->metric(
          fmt::format(R"({{"stage":{},"epoch":{},"test_pearson":{}}})", stage, r.step / eval_steps * f.eval_every, shortest(pearson)));
    }
    progress.update(done, fmt::format("{}: loss {:.4f}", stage_name, r.loss));
    if (fit.stage() != stage) stage_name = fit.stage_name();
    // One before the last step too: a run stopped while it is scored does that step again, then scores.
    if (run && done < all && (done % f.save_every == 0 || done == all - 1 || stop)) run->checkpoint(fit);
    if (stop) throw Stopped{};
  }
}

Slides slides_of(const Dataset& data, const Panel& panel, MissingGenes missing) {
  Slides s;
  for (const Section& section : data.sections) {
    const Split split = section.split();
    if (split == Split::none) continue;
    (split == Split::train ? s.train : split == Split::val ? s.val : s.test).push_back(make_slide(section, panel, missing));
    if (split == Split::val) s.val_sections.push_back(&section);
    if (split == Split::test) s.test_sections.push_back(&section);
  }
  return s;
}

void write_predictions(const RunFolder& run, const Predictor& model, const Section& section, const Slide& slide, bool clip) {
  std::vector<float> values = model.predict(slide, check_stop).mean;
  if (clip)
    for (float& v : values) v = std::max(v, 0.0f);
  write_predictions(run.file("predictions/" + section.sample() + ".csv"), section, model.genes, values);
}

void show_plan(const Dataset& data, const Slides& s, const Panel& panel, const Fit& fit, const std::map<std::string, std::string>& encoder,
               const std::string& device) {
  int64_t spots = 0;
  for (const auto* group : {&s.train, &s.val, &s.test})
    for (const Slide& slide : *group) spots += slide.size();
  const ModelConfig& c = fit.config();
  terminal::info("data: {} ({}): {} train, {} val, {} test sections, {} spots, {} genes ({})", data.path, data.layout, s.train.size(),
                 s.val.size(), s.test.size(), spots, panel.genes.size(), panel.from);
  terminal::info("model: {} preset, {} layers x {}, {} heads, {} neighbours, {} parameters{}; {} inputs a spot from {} features", c.preset,
                 c.denoiser.layers, c.denoiser.hidden, c.denoiser.heads, c.geometry.neighbors, fit.current().parameters().parameters(),
                 c.members > 1 ? fmt::format(" in each of {} members", c.members) : "", c.denoiser.features,
                 encoder.at("kind") == "encoder" ? "the encoder's" : "precomputed");
  terminal::info("plan: {} x {} steps; memory {} for activations, {} for weights and optimiser; {}", fit.stages(), fit.steps_per_stage(),
                 terminal::bytes(fit.arena_bytes()), terminal::bytes(uint64_t(fit.current().parameters().size()) * 5 * sizeof(float)),
                 device);
}

// The trained model on the held-out sections: predictions, scores, maps, summary, and last the model file. Throws Stopped after a stop
// signal; what it has written by then is written again by the run that resumes.
void finish(Fit& fit, RunFolder& run, const TrainFlags& f, const Slides& slides, const std::map<std::string, std::string>& encoder,
            std::chrono::steady_clock::time_point start, const std::string& job) {
  const Selection selection = fit.selection();
  Predictor model = fit.take();
  model.encoder = encoder;

  make_output_folder(run.file("predictions"));
  for (const auto& [sections, group] : {std::tie(slides.val_sections, slides.val), std::tie(slides.test_sections, slides.test)})
    for (size_t i = 0; i < group.size(); i++) write_predictions(run, model, *sections[i], group[i], f.clip);
  const Report report = judge(model, selection, slides.train, slides.val, slides.test);
  if (f.maps && !slides.test_sections[0]->source.image.empty()) write_maps(report, *slides.test_sections[0], run.file("maps"));
  JsonOut summary = report_json(report);
  summary["run"] = run.path();
  if (!job.empty()) summary["job"] = job;
  summary["seed"] = f.seed;
  summary["parameters"] = model.parameters().parameters();
  summary["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  summary["peak_rss_bytes"] = peak_rss_bytes();
  check_stop();
  write_atomic(run.file("summary.json"), summary.dump(2) + "\n");
  run.flush();
  model.save(run.file("model.safetensors"));  // last: a run that has it is finished
  run.clean();
  if (terminal::settings().json) print_json(summary);
  else terminal::result(report_text(report));
  terminal::info("run in {}: {}, {} at most", run.path(), terminal::duration(summary["seconds"]), terminal::bytes(peak_rss_bytes()));
}

// What all ranks must have alike before they begin, a line each.
std::string agreement(const TrainFlags& f, const ModelConfig& config, const ChosenDevice& device) {
  return fmt::format(
      "device: {}\nnumerics: {}\nsave-every: {}\neval-every: {}\nresume: {}\nreduce: {}, overlap: {}, check: {}\ngenes: {}\n{}",
      device.context.device == Device::cuda ? "cuda" : "cpu", kNumerics, f.save_every, f.eval_every, f.resume, f.reduce, f.overlap,
      f.ranks.check_collectives, f.genes, to_json(config).dump(0));
}

// The sections as read, a line each: before ranks exchange features.
std::string sections_text(const Dataset& data) {
  std::string text;
  for (const Section& s : data.sections) {
    const auto bytes = [](const auto& v) { return std::string_view(reinterpret_cast<const char*>(v.data()), v.size() * sizeof v[0]); };
    text += fmt::format("{}: {}, {} spots of {} genes, counts {:.12}, features {:.12}\n", s.sample(), name_of(s.split()), s.size(),
                        s.genes.size(), sha256(bytes(s.counts)), sha256(bytes(s.features)));
  }
  return text;
}

void warn_of_idle(const ModelConfig& c, int ranks) {
  if (c.training.batch < ranks)
    terminal::warn("{} of {} ranks have nothing to train on: a step has {} {}, expected one for each rank or more; raise --batch-size",
                   ranks - c.training.batch, ranks, c.training.batch, c.training.batch == 1 ? "item" : "items");
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

// The other ranks of this host have come to their end and leave their cores to this one. Where it was bound to a part of them, it stays
// there.
void use_cores_of_all(const Team& team) {
  set_thread_count(std::max(thread_count(), std::min(thread_count() * team.place().local_size, available_cores())));
}

int train_as(Team& team, TrainFlags& f, const ModelConfig& config) {
  const auto start = std::chrono::steady_clock::now();
  const ChosenDevice device = choose_device(f.device, team.place().local_rank);
  team.same("configuration", agreement(f, config, device));
  Communicator& ranks = team.communicator(device.context);
  const bool ordered = f.reduce == "ordered" || (f.reduce == "auto" && device.context.device == Device::cpu);
  const Reduce reduce = ordered ? Reduce::ordered : f.overlap ? Reduce::overlapped : Reduce::fast;
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
  const Slides slides = slides_of(data, panel, f.data.missing());
  Fit fit(config, panel.genes, slides.train, slides.val, device.context, ranks, reduce);
  team.same("data", fit.data_hash());
  show_plan(data, slides, panel, fit, encoder, device.text);
  warn_of_idle(config, team.size());
  if (f.dry_run) return 0;

  std::optional<RunFolder> run;
  std::string checkpoint;
  const std::string job = job_of(team.place());
  if (team.lead()) run.emplace(f.resume ? RunFolder::open(f.save_dir, job) : RunFolder::create(f.save_dir, f.overwrite, job));
  if (run && f.resume) checkpoint = run->resume(fit);  // refuses other flags or data before anything of the run is replaced
  checkpoint = team.from_lead("checkpoint", checkpoint);
  if (!run && !checkpoint.empty()) fit.load(checkpoint);
  team.same("start", fmt::format("stage {}, step {}", fit.stage(), fit.steps_in_stage()));
  if (run)
    write_atomic(
        run->file("config.json"),
        Json{{"version", kVersion}, {"model", to_json(fit.config())}, {"data", f.data.path}, {"genes", panel.genes}, {"encoder", encoder}}
                .dump(2) +
            "\n");
  try {
    train_loop(fit, run ? &*run : nullptr, f, slides.test, ranks);
    if (run) use_cores_of_all(team);
    if (run) finish(fit, *run, f, slides, encoder, start, job);
  } catch (const Stopped&) {
    if (run) terminal::info("stopped by a signal; checkpoint in {}; continue with --resume --save-dir {}", run->path(), run->path());
    return int(Exit::preempted);
  }
  return 0;
}

}  // namespace

int train(const Args& args) {
  TrainFlags f;
  f.data.options.min_counts = 10;
  Options o("train", "Trains STFlow on tissue sections and scores it on held-out ones.",
            "stflow train --data sections/manifest.csv --genes 100");
  declare(o, f);
  if (!o.parse(args)) return 0;
  const ModelConfig config = config_of(f);
  catch_stop_signals();
  return as_rank(f.ranks, o, [&](Team& team) { return train_as(team, f, config); });
}

}  // namespace stflow
