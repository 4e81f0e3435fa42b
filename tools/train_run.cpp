#include "tools/train_run.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "engine/cores.h"
#include "engine/file.h"
#include "engine/text.h"
#include "engine/threads.h"
#include "engine/version.h"
#include "model/fit.h"
#include "tools/memory.h"
#include "tools/report.h"
#include "tools/run_folder.h"
#include "tools/signals.h"

namespace stflow {
namespace {

struct Slides {
  std::vector<Slide> train, val, test;
  std::vector<const Section*> val_sections, test_sections;
};

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
  std::vector<float> values = model.predict(slide, {.each_draw = check_stop}).mean;
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
            std::chrono::steady_clock::time_point start, const std::string& job, JsonOut& summary, std::string& text) {
  const Selection selection = fit.selection();
  Predictor model = fit.take();
  model.encoder = encoder;

  make_output_folder(run.file("predictions"));
  for (const auto& [sections, group] : {std::tie(slides.val_sections, slides.val), std::tie(slides.test_sections, slides.test)})
    for (size_t i = 0; i < group.size(); i++) write_predictions(run, model, *sections[i], group[i], f.clip);
  const Report report = judge(model, selection, slides.train, slides.val, slides.test);
  if (f.maps && !slides.test_sections[0]->source.image.empty()) write_maps(report, *slides.test_sections[0], run.file("maps"));
  summary = report_json(report);
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
  terminal::info("run in {}: {}, {} at most", run.path(), terminal::duration(summary["seconds"]), terminal::bytes(peak_rss_bytes()));
  text = report_text(report);
}

/// The other ranks of this host have come to their end and leave their cores to this one for a while. Where it was bound to a part of them,
/// it stays there.
class AllCores {
 public:
  explicit AllCores(const Team& team) : before_(thread_count()) {
    set_thread_count(std::max(before_, std::min(before_ * team.place().local_size, available_cores())));
  }
  AllCores(const AllCores&) = delete;
  AllCores& operator=(const AllCores&) = delete;
  ~AllCores() { set_thread_count(before_); }

 private:
  int before_;
};

void warn_of_idle(const ModelConfig& c, int ranks) {
  if (c.training.batch < ranks)
    terminal::warn("{} of {} ranks have nothing to train on: a step has {} {}, expected one for each rank or more; raise --batch-size",
                   ranks - c.training.batch, ranks, c.training.batch, c.training.batch == 1 ? "item" : "items");
}

}  // namespace

Exit train_run(Team& team, const TrainFlags& f, bool resume, const ModelConfig& config, const TrainJob& job,
               std::chrono::steady_clock::time_point start, JsonOut& summary, std::string& report) {
  const auto& [data, panel, encoder, device, resumes] = job;
  Communicator& ranks = team.communicator(device.context);
  const bool ordered = f.reduce == "ordered" || (f.reduce == "auto" && device.context.device == Device::cpu);
  const Reduce reduce = ordered ? Reduce::ordered : f.overlap ? Reduce::overlapped : Reduce::fast;
  const Slides slides = slides_of(data, panel, f.data.missing());
  Fit fit(config, panel.genes, slides.train, slides.val, device.context, ranks, reduce);
  team.same("data", fit.data_hash());
  show_plan(data, slides, panel, fit, encoder, device.text);
  warn_of_idle(config, team.size());
  if (f.dry_run) return Exit::ok;

  std::optional<RunFolder> run;
  std::string checkpoint;
  const std::string launch = job_of(team.place());
  if (team.lead()) run.emplace(resume ? RunFolder::open(f.save_dir, launch) : RunFolder::create(f.save_dir, f.overwrite, launch));
  if (run && resume) checkpoint = run->resume(fit);  // refuses other flags or data before anything of the run is replaced
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
    if (run) {
      const AllCores all(team);
      finish(fit, *run, f, slides, encoder, start, launch, summary, report);
    }
  } catch (const Stopped&) {
    if (run)
      terminal::info("stopped by a signal; checkpoint in {}; continue with --resume --save-dir {}", run->path(),
                     resumes.empty() ? run->path() : resumes);
    return Exit::preempted;
  }
  return Exit::ok;
}

}  // namespace stflow
