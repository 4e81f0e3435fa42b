#include "model/trainer.h"

#include <cmath>
#include <cstring>

#include "ops/mse.h"

namespace stflow {

Trainer::Trainer(const Denoiser& denoiser, ParameterSet& parameters, const std::vector<TrainingSlide>& slides,
                 const GeometryConfig& geometry, const Prior& prior, const Standardizer& targets, const TrainingConfig& config,
                 uint64_t seed)
    : denoiser_(denoiser),
      parameters_(parameters),
      slides_(slides),
      geometry_config_(geometry),
      prior_(prior),
      targets_(targets),
      config_(config),
      seed_(seed),
      order_{int64_t(slides.size()), config.repeats, config.shuffle, seed},
      sum_(parameters.grads().size(), DType::f32) {
  check(!slides.empty(), "trainer: no slides");
  optimizer_.allocate(parameters, config.adam.ema_decay > 0);
  size_t largest = 0;
  for (size_t s = 0; s < slides.size(); s++) {
    geometries_.push_back(std::make_unique<Geometry>());
    geometries_[s]->build(slides[s].slide->coords(), slides[s].slide->ranks(), geometry, DType::f32);
    if (slides[s].slide->size() > slides[largest].slide->size()) largest = s;
  }
  flow_.reserve(aligned(size_t(slides[largest].slide->size() * denoiser.config().genes) * sizeof(float)) + kAlign);
  item_.set_whole(slides[largest], *geometries_[largest]);
  run(item_, 0, {});  // plans only
  arena_.reserve(arena_bytes_);
}

const Item& Trainer::prepare(int slot) {
  const auto s = size_t(order_.slide_of(steps_done() * config_.batch + slot));
  if (config_.item == ItemLaw::whole) item_.set_whole(slides_[s], *geometries_[s]);
  else
    item_.set_disc(slides_[s], *geometries_[s], geometry_config_,
                   RandomKey(seed_, Stream::item, uint32_t(steps_done()), uint32_t(slot) + 2));
  return item_;
}

// Records the slot's item, plans, and unless `grads` is empty (planning only) runs it: the sum of squared
// errors, whose gradient is added to `grads`.
double Trainer::run(const Item& item, int slot, const Tensor& grads) {
  const uint32_t step = uint32_t(steps_done()), place = uint32_t(slot);
  const Tensor& y1 = item.targets();
  const Tensor yt{flow_.data(), y1.shape, DType::f32};
  const Tensor time{static_cast<char*>(flow_.data()) + aligned(y1.bytes()), {1}, DType::f32};
  const Philox4 r = RandomKey(seed_, Stream::time, step, place).draw(0);
  const float t = float(open01(r.v[0], r.v[1]));
  if (grads.data) {
    *time.as<float>() = t;
    prior_.sample(item.ranks(), RandomKey(seed_, Stream::prior, step, place), targets_, yt);
    float* y = yt.as<float>();
    const float* end = y1.as<float>();
    for (int64_t i = 0; i < yt.size(); i++) y[i] = (1 - t) * y[i] + t * end[i];
  }
  tape_.reset();
  Dropouts dropouts{true, RandomKey(seed_, Stream::dropout, step, place)};
  const Geometry& g = item.geometry();
  const Denoiser::Slide slide = denoiser_.slide(tape_.input(item.inputs()), tape_.input(g.frames().values), dropouts);
  Var prediction = denoiser_.step(tape_.input(yt), tape_.input(time), slide, g.graph(), dropouts).prediction;
  tape_.layer("loss");
  Var loss = mse(prediction, tape_.input(y1), Reduction::sum);
  arena_bytes_ = std::max(arena_bytes_, tape_.plan(true));
  if (!grads.data) return 0;
  tape_.bind(arena_, parameters_, grads);
  tape_.forward();
  const double value = double(*tape_.value(loss).as<float>());
  tape_.backward(loss);
  grads.as<float>()[parameters_.size()] += float(item.size());
  return value;
}

StepReport Trainer::step() {
  StepReport report;
  report.step = steps_done() + 1;
  for (int slot = 0; slot < config_.batch; slot++) {
    const Item& item = prepare(slot);
    report.loss += run(item, slot, sum_.next());
    report.spots += item.size();
    sum_.add();
  }
  report.loss /= double(report.spots * denoiser_.config().genes);
  const Tensor total = sum_.total();
  std::memcpy(parameters_.grads().data, total.data, total.bytes());
  const int64_t warm = std::lround(config_.warmup * double(config_.steps));
  const Schedule schedule{config_.cosine ? Schedule::cosine : Schedule::constant, warm, config_.steps};
  report.lr = config_.adam.lr * schedule.factor(steps_done());
  const double entries = double(total.as<float>()[parameters_.size()]) * double(denoiser_.config().genes);
  if (std::isfinite(report.loss)) report.grad_norm = adamw_step(tape_.context(), parameters_, config_.adam, report.lr, entries, optimizer_);
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm)) name_non_finite(report.loss, report.grad_norm);
  return report;
}

// Runs the step's items again with every op checked; the ops are deterministic, so the first fault shows itself.
void Trainer::name_non_finite(double loss, double norm) {
  const int64_t step = steps_done() + 1;
  struct Checked {
    Tape& tape;
    explicit Checked(Tape& t) : tape(t) { tape.check_finite(true); }
    ~Checked() { tape.check_finite(false); }
  } checked(tape_);
  for (int slot = 0; slot < config_.batch; slot++) {
    const int64_t slide = order_.slide_of(steps_done() * config_.batch + slot);
    try {
      run(prepare(slot), slot, sum_.next());
    } catch (const Error& e) {
      fail(Exit::data, "train: step {}, slide {}: {}", step, slides_[size_t(slide)].slide->name, e.what());
    }
  }
  fail(Exit::data, "train: step {}: loss {}, gradient norm {}, expected finite numbers; lower --lr", step, loss, norm);
}

void Trainer::use_average() {
  if (optimizer_.has_ema()) std::memcpy(parameters_.values().data, optimizer_.ema.tensor().data, parameters_.values().bytes());
}

}  // namespace stflow
