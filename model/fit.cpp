#include "model/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/metrics.h"

namespace stflow {

// Everything of the stage that is being trained.
struct Fit::Stage {
  Predictor model;
  std::vector<TrainingSlide> slides;
  std::unique_ptr<Trainer> trainer;  // of the member in training

  Stage(const ModelConfig& config, const std::vector<std::string>& genes, const std::vector<const Slide*>& train, double lambda,
        uint64_t seed, const Context& context)
      : model(
            [&] {
              ModelConfig c = config;
              c.seed = seed;
              return c;
            }(),
            context) {
    const auto width = int64_t(genes.size());
    model.genes = genes;
    std::vector<const std::vector<float>*> logs;
    std::vector<std::vector<float>> log_counts;
    std::vector<float> counts;
    for (const Slide* s : train) {
      log_counts.push_back(log1p(s->counts));
      counts.insert(counts.end(), s->counts.begin(), s->counts.end());
    }
    for (const auto& l : log_counts) logs.push_back(&l);
    model.pipeline = FeaturePipeline::fit(train, config.surroundings, config.standardize_features);
    if (config.standardize_targets) model.targets = Standardizer::fit(logs, width, 0);
    model.prior = fit_prior(config.prior, counts, width);
    for (size_t i = 0; i < train.size(); i++) {
      slides.push_back({train[i], model.pipeline.apply(*train[i]), std::move(log_counts[i])});
      model.targets.apply(slides[i].targets);
    }
    if (config.expert) {
      std::vector<float> x, y;
      for (const TrainingSlide& s : slides)
        x.insert(x.end(), s.inputs.begin(), s.inputs.end()), y.insert(y.end(), s.targets.begin(), s.targets.end());
      model.expert = fit_ridge(matrix(x, model.config.denoiser.features), matrix(y, width), lambda);
    }
  }
  // Members draw different numbers; the first draws those of the seed itself.
  void train_member(int m, const Context& context, Communicator& ranks, Reduce reduce) {
    const ModelConfig& c = model.config;
    trainer = std::make_unique<Trainer>(model.denoiser(), model.parameters(m), slides, c.geometry, model.prior, model.targets, c.training,
                                        c.seed + 0xD1B54A32D192ED03u * uint64_t(m), context, ranks, reduce);
  }
};

Fit::Fit(ModelConfig config, std::vector<std::string> genes, const std::vector<Slide>& train, const std::vector<Slide>& val,
         const Context& context, Communicator& ranks, Reduce reduce)
    : config_(std::move(config)), context_(context), ranks_(ranks), reduce_(reduce), genes_(std::move(genes)), folds_(train, val) {
  check(!train.empty(), "fit: no training slides");
  config_.denoiser.features = train[0].dim * int64_t(1 + config_.surroundings.size());
  config_.denoiser.genes = int64_t(genes_.size());
  const double items = config_.epochs * double(train.size()) * config_.training.repeats;
  config_.training.steps = std::max<int64_t>(1, std::llround(items / config_.training.batch));
  if (config_.expert) {
    // Scaled over all training spots, which looks at no expression.
    const FeaturePipeline pipeline = FeaturePipeline::fit(pointers(train), config_.surroundings, config_.standardize_features);
    selection_.lambda = choose_penalty(folds_, pipeline, config_.denoiser.genes);
  }
  if (folds_.validation || config_.expert) stages_ = folds_.folds;
  if (!folds_.validation) {
    stages_.emplace_back();
    for (const Slide& s : train) stages_.back().train.push_back(&s);
  }
  begin_fold();
}

Fit::~Fit() = default;

std::string Fit::stage_name() const {
  if (stage_ >= stages()) return "done";
  std::string name = "without";
  for (const Slide* s : fold().held_out) name += " " + s->name;
  if (fold().held_out.empty()) name = "all training sections";
  if (folds_.validation) name = "training sections";
  return config_.members > 1 ? name + ", member " + std::to_string(member() + 1) : name;
}

// Each fold has random numbers of its own; the final model's are those of the seed itself.
void Fit::begin_fold() {
  const int index = stage_ / config_.members, last = int(stages_.size()) - 1;
  const uint64_t seed = index == last ? config_.seed : config_.seed + 0x9E3779B97F4A7C15u * uint64_t(index + 1);
  now_ = std::make_unique<Stage>(config_, genes_, fold().train, selection_.lambda, seed, context_);
  now_->train_member(0, context_, ranks_, reduce_);
}

bool Fit::step(StepReport& report) {
  if (stage_ >= stages()) return false;
  report = now_->trainer->step();
  if (now_->trainer->done()) finish();
  return true;
}

void Fit::finish() {
  now_->trainer->use_average();
  const bool last_member = member() + 1 == config_.members;
  if (last_member && !fold().held_out.empty()) judge_fold();
  stage_++;
  if (stage_ == stages()) choose_blend();
  else if (last_member) begin_fold();
  else now_->train_member(member(), context_, ranks_, reduce_);
}

void Fit::judge_fold() {
  FoldResult r;
  for (const Slide* s : fold().held_out) {
    r.held_out += (r.held_out.empty() ? "" : " ") + s->name;
    const std::vector<float> truth = log1p(s->counts);
    r.truth.insert(r.truth.end(), truth.begin(), truth.end());
    for (bool denoiser : {true, false}) {
      if (!denoiser && !config_.expert) continue;
      now_->model.blend = denoiser ? 1 : 0;
      const Prediction p = now_->model.predict(*s);
      std::vector<float>& into = denoiser ? r.denoiser : r.expert;
      into.insert(into.end(), p.mean.begin(), p.mean.end());
    }
  }
  now_->model.blend = 1;
  results_.push_back(std::move(r));
}

// The share of the denoiser, in tenths, with the highest mean over folds of the mean Pearson correlation over genes.
void Fit::choose_blend() {
  const auto g = int64_t(genes_.size());
  const auto mixed = [](const FoldResult& r, double w) {
    std::vector<float> values = r.denoiser;
    for (size_t i = 0; i < r.expert.size(); i++) values[i] = float(w * double(r.denoiser[i]) + (1 - w) * double(r.expert[i]));
    return values;
  };
  const auto scores = [&](const FoldResult& r, double w) { return stflow::score(matrix(mixed(r, w), g), matrix(r.truth, g)); };
  auto score = [&](double w) {
    double total = 0;
    for (const FoldResult& r : results_) total += scores(r, w).mean_pearson;
    return total / double(results_.size());
  };
  if (results_.empty()) {
    selection_.pearson = selection_.expert = selection_.denoiser = std::numeric_limits<double>::quiet_NaN();
    selection_.blend = config_.expert ? 0.5 : 1;
  } else {
    selection_.denoiser = selection_.pearson = score(1);
    selection_.expert = config_.expert ? score(0) : std::numeric_limits<double>::quiet_NaN();
    for (int tenth = 0; config_.expert && tenth < 10; tenth++) {
      const double s = score(tenth / 10.0);
      if (s > selection_.pearson) selection_.pearson = s, selection_.blend = tenth / 10.0;
    }
    std::vector<Scores> of;
    std::vector<float> truth, prediction;
    for (const FoldResult& r : results_) {
      of.push_back(scores(r, selection_.blend));
      const std::vector<float> chosen = mixed(r, selection_.blend);
      truth.insert(truth.end(), r.truth.begin(), r.truth.end()), prediction.insert(prediction.end(), chosen.begin(), chosen.end());
    }
    now_->model.validation = mean_by_gene(of);
    now_->model.residuals = Residuals::fit(truth, prediction, g);
  }
  now_->model.blend = selection_.blend;
}

// For load(): the fold and member of `stage`, at their first step; results of earlier folds are the caller's.
void Fit::restart_at(int stage) {
  stage_ = stage;
  begin_fold();
  now_->train_member(member(), context_, ranks_, reduce_);
}

const Predictor& Fit::current() const { return now_->model; }
int64_t Fit::steps_in_stage() const { return stage_ < stages() ? now_->trainer->steps_done() : 0; }
Trainer& Fit::trainer() { return *now_->trainer; }
const OptimizerState& Fit::optimizer() const { return now_->trainer->state(); }
Predictor& Fit::model() { return now_->model; }
size_t Fit::arena_bytes() const { return now_->trainer->arena_bytes(); }

Predictor Fit::take() {
  check(stage_ == stages(), "fit: taken at stage {} of {}", stage_, stages());
  now_->model.novelty = Novelty::fit(stages_.back().train, now_->model.pipeline.scale, config_.seed);
  return std::move(now_->model);
}

}  // namespace stflow
