#include "model/trainer.h"

#include <cmath>

#include "ops/flow.h"
#include "ops/mse.h"

namespace stflow {

Communicator& alone() {
  static Alone one;
  return one;
}

Trainer::Trainer(const Denoiser& denoiser, ParameterSet& parameters, const std::vector<TrainingSlide>& slides,
                 const GeometryConfig& geometry, const Prior& prior, const Standardizer& targets, const TrainingConfig& config,
                 uint64_t seed, Context context, Communicator& ranks, Reduce reduce)
    : denoiser_(denoiser),
      parameters_(parameters),
      slides_(slides),
      geometry_config_(geometry),
      prior_(prior, targets, context),
      config_(config),
      seed_(seed),
      order_{int64_t(slides.size()), config.repeats, config.shuffle, seed},
      ranks_(ranks),
      reduce_(reduce),
      sum_(parameters.grads().size() + config.batch, DType::f32, context),
      item_(context),
      tape_(context),
      arena_(0, context.device),
      flow_(0, context.device),
      disc_(0, context.device),
      told_(Storage::beside(context.device, size_t(config.batch) * sizeof(Now))),
      losses_({config.batch}, DType::f32, context),
      replays_(context) {
  check(!slides.empty(), "trainer: no slides");
  check(parameters.device() == context.device, "trainer: the parameters are not in the memory of the context's device");
  optimizer_.allocate(parameters, config.adam.ema_decay > 0);
  size_t largest = 0;
  for (size_t s = 0; s < slides.size(); s++) {
    geometries_.push_back(std::make_unique<Geometry>(context));
    geometries_[s]->build(slides[s].slide->coords(), slides[s].slide->ranks(), geometry, DType::f32);
    if (slides[s].slide->size() > slides[largest].slide->size()) largest = s;
    item_.set_whole(slides[s], *geometries_[s]);
    if (context.device == Device::cpu || config.item != ItemLaw::whole) continue;
    for (const Tensor& t : {item_.inputs(), item_.targets(), item_.ranks()})
      resident_.push_back(copy_of(t, Device::cpu, context.device, context.stream));
  }
  flow_.reserve(aligned(size_t(slides[largest].slide->size() * denoiser.config().genes) * sizeof(float)) + kAlign);
  item_.set_whole(slides[largest], *geometries_[largest]);
  run({item_.inputs(), item_.targets(), item_.ranks()}, 0, {});  // plans only
  arena_.reserve(arena_bytes_);
  if (ranks.size() == 1) return;
  const int64_t size = parameters.grads().size() + config.batch;
  constexpr int kBuckets = 4;  // of some 1 MB each for STFlow: smaller ones cost more time on their way than they hide
  if (reduce != Reduce::ordered && context.device == Device::cuda) buckets_ = cut_gradients(tape_, size, kBuckets), planned_ = tape_.size();
  std::vector<std::vector<TreeNode>> plans;
  size_t most = 1;
  for (int r = 0; r < ranks.size(); r++) {
    plans.push_back(nodes_of(slots_of(config.batch, r, ranks.size()), config.batch));
    most = std::max(most, plans.back().size());
  }
  if (reduce != Reduce::ordered) most = 1;
  mine_ = Array({int64_t(most), size}, DType::f32, context.device);
  if (reduce != Reduce::ordered) return;
  all_ = Array({int64_t(most) * ranks.size(), size}, DType::f32, context.device);
  for (size_t r = 0; r < plans.size(); r++)
    for (size_t i = 0; i < plans[r].size(); i++) {
      nodes_.push_back(view(all_.as<float>() + int64_t(r * most + i) * size, {size}));
      levels_.push_back(plans[r][i].level);
    }
}

int64_t Trainer::spots_of(int slot) const {
  const int64_t total = slides_[size_t(slide_of(slot))].slide->size();
  return config_.item == ItemLaw::whole ? total : Item::disc_size(total, disc_key(slot));
}

// The slot's item: item_, and its numbers where the device reads them.
Trainer::Data Trainer::prepare(int slot) {
  const auto s = size_t(slide_of(slot));
  if (config_.item == ItemLaw::whole) {
    item_.set_whole(slides_[s], *geometries_[s]);
    if (!resident_.empty()) return {resident_[3 * s], resident_[3 * s + 1], resident_[3 * s + 2]};
    return {item_.inputs(), item_.targets(), item_.ranks()};
  }
  item_.set_disc(slides_[s], *geometries_[s], geometry_config_, disc_key(slot));
  const Context& c = tape_.context();
  Data d{item_.inputs(), item_.targets(), item_.ranks()};
  if (c.device == Device::cpu) return d;
  disc_.reserve(aligned(d.inputs.bytes()) + aligned(d.targets.bytes()) + d.ranks.bytes());
  char* at = static_cast<char*>(disc_.data());
  for (Tensor* t : {&d.inputs, &d.targets, &d.ranks}) {
    copy(c.device, at, Device::cpu, t->data, t->bytes(), c.stream);
    t->data = at, at += aligned(t->bytes());
  }
  return d;
}

// Writes the slot's Now, by the one copy from the host that a slot makes. Each slot has pinned memory of its own, which stays as it is
// until the step has been waited for.
void Trainer::tell(int slot) {
  const Context c = tape_.context();
  const uint32_t step = uint32_t(steps_done()), place = uint32_t(slot);
  const Philox4 r = RandomKey(seed_, Stream::time, step, place).draw(0);
  Now& now = static_cast<Now*>(told_.data())[slot];
  now = {{step, place}, float(open01(r.v[0], r.v[1])), float(item_.size())};
  copy(c.device, flow_.data(), Device::cpu, &now, sizeof now, c.stream);
}

// Whole slides come again with the same shapes. Discs have other sizes in each step: to record one costs what its launches do. Several
// ranks exchange parts of the gradients from within the backward pass, by NCCL on a second stream and with the store asked: kernel by
// kernel.
bool Trainer::in_graphs() const { return config_.item == ItemLaw::whole && ranks_.size() == 1 && !tape_.watched(); }

// Records the slot's item, plans, and unless `sums` is empty (planning only) runs it: adds its gradient, its number of spots and its sum of
// squared errors there.
void Trainer::run(const Data& data, int slot, const Tensor& sums, const std::function<void(int node)>& passed) {
  const Context c = tape_.context();
  const uint32_t step = uint32_t(steps_done()), place = uint32_t(slot);
  static_assert(sizeof(Now) <= kAlign);
  auto* now = static_cast<Now*>(flow_.data());
  const KeyPlace* keys = c.device == Device::cuda ? &now->place : nullptr;
  const Tensor time = view(&now->time, {1});
  const Tensor yt{static_cast<char*>(flow_.data()) + kAlign, data.targets.shape, DType::f32};
  const Geometry& g = item_.geometry();
  Var loss;
  const auto record = [&] {
    tape_.reset();
    Dropouts dropouts{.training = true, .key = RandomKey(seed_, Stream::dropout, step, place), .now = keys};
    const Denoiser::Slide slide = denoiser_.slide(tape_.input(data.inputs), tape_.input(g.frames().values), dropouts);
    Var prediction = denoiser_.step(tape_.input(yt), tape_.input(time), slide, g.graph(), dropouts).prediction;
    tape_.layer("loss");
    loss = mse(prediction, tape_.input(data.targets), Reduction::sum);
    arena_bytes_ = std::max(arena_bytes_, tape_.plan(true));
    if (sums.data) tape_.bind(arena_, parameters_, view(sums.as<float>(), {parameters_.grads().size()}));
  };
  if (!sums.data) return record();
  const auto work = [&] {
    copy(c.device, sums.as<float>() + parameters_.size(), c.device, &now->spots, sizeof now->spots, c.stream);
    prior_.sample(data.ranks, RandomKey(seed_, Stream::prior, step, place), yt, keys);
    on(c, [&](auto b) { interpolate(b, time, data.targets, yt); });
    tape_.forward();
    copy(c.device, sums.as<float>() + parameters_.grads().size() + slot, c.device, tape_.value(loss).data, sizeof(float), c.stream);
    tape_.backward(loss, passed);
  };
  tell(slot);
  if (!in_graphs()) return record(), work();
  const Graph& graph = g.graph();
  replays_.run("training step",
               {uint64_t(slot), uint64_t(graph.n), uint64_t(graph.k), uint64_t(g.frames().values.size()), address(sums.data),
                address(data.inputs.data), address(data.targets.data), address(data.ranks.data), address(g.frames().values.data),
                address(graph.idx.data), address(graph.distance.data), address(graph.reverse_start.data), address(graph.reverse.data),
                address(arena_.data()), address(flow_.data())},
               record, work);
}

void Trainer::run_slots(int begin, int end) {
  for (int slot = begin; slot < end; slot++) {
    run(prepare(slot), slot, sum_.next());
    sum_.add();
  }
}

// The sums over all slots of the step.
Tensor Trainer::sum_slots() {
  if (ranks_.size() > 1) return sum_over_ranks();
  run_slots(0, config_.batch);
  return sum_.total();
}

// Each rank adds up its own slots to nodes of the tree, and all the nodes to its root; a rank without slots takes part as one of zeros.
Tensor Trainer::sum_over_ranks() {
  const Context c = tape_.context();
  const SlotRange own = slots_of(config_.batch, ranks_.rank(), ranks_.size());
  const int64_t size = mine_.tensor().cols();
  const auto keep = [&](int64_t place) {
    const Tensor t = sum_.total();
    copy(c.device, mine_.as<float>() + place * size, c.device, t.data, t.bytes(), c.stream);
  };
  ranks_.set_step(steps_done() + 1);
  if (!buckets_.empty()) return sum_by_parts(own);
  if (reduce_ != Reduce::ordered) {
    fill(c.device, mine_.tensor().data, 0, mine_.tensor().bytes(), c.stream);
    run_slots(own.begin, own.end);
    if (own.begin < own.end) keep(0);
    ranks_.all_reduce_sum(mine_, "gradients");
    return view(mine_.as<float>(), {size});
  }
  int64_t place = 0;
  for (const TreeNode& node : nodes_of(own, config_.batch)) {
    run_slots(node.first, std::min(node.first + (1 << node.level), own.end));
    keep(place++);
  }
  ranks_.all_gather(mine_, all_, "gradients");
  return add_nodes(nodes_, levels_, c);
}

// The same in the order of the communicator, part by part, with the other parts still being computed: their exchange costs the time that is
// left of the last part alone.
Tensor Trainer::sum_by_parts(SlotRange own) {
  const bool idle = own.begin == own.end;
  size_t next = 0;
  const auto exchange = [&] {
    const Bucket& b = buckets_[next++];
    const Tensor part = idle ? view(mine_.as<float>() + b.begin, {b.end - b.begin}) : sum_.part(b.begin, b.end);
    ranks_.all_reduce_sum(part, b.name.c_str(), reduce_ == Reduce::overlapped);
  };
  if (idle) {
    fill(Device::cuda, mine_.tensor().data, 0, mine_.tensor().bytes(), tape_.context().stream);
  } else {
    run_slots(own.begin, own.end - 1);
    run(prepare(own.end - 1), own.end - 1, sum_.next(), [&](int node) {
      const bool early = reduce_ == Reduce::overlapped && tape_.size() == planned_;
      while (early && next < buckets_.size() && buckets_[next].first >= node) exchange();
    });
  }
  while (next < buckets_.size()) exchange();
  ranks_.join();
  return idle ? view(mine_.as<float>(), {mine_.tensor().cols()}) : sum_.whole();
}

StepReport Trainer::step() {
  const Context c = tape_.context();
  StepReport report;
  report.step = steps_done() + 1;
  for (int slot = 0; slot < config_.batch; slot++) report.spots += spots_of(slot);
  const Tensor total = sum_slots();
  const int64_t warm = std::lround(config_.warmup * double(config_.steps));
  const Schedule schedule{config_.cosine ? Schedule::cosine : Schedule::constant, warm, config_.steps};
  report.lr = config_.adam.lr * schedule.factor(steps_done());
  const int64_t entries = report.spots * denoiser_.config().genes;
  const Tensor losses = view(total.as<float>() + parameters_.grads().size(), {config_.batch});
  adamw_stage(c, parameters_, config_.adam, report.lr, double(entries), optimizer_);
  const auto update = [&] {
    copy(c.device, parameters_.grads().data, c.device, total.data, parameters_.grads().bytes(), c.stream);
    adamw_run(c, parameters_, config_.adam, optimizer_, losses);
  };
  if (in_graphs())
    replays_.run(
        "optimiser", {address(total.data), address(optimizer_.sums.data()), address(optimizer_.m.tensor().data)}, [] {}, update);
  else update();
  losses_.fetch(losses);
  // Only here does the host wait for a device.
  ranks_.wait();
  report.grad_norm = adamw_finish(c, optimizer_);
  losses_.wait();
  for (int slot = 0; slot < config_.batch; slot++) report.loss += double(losses_.as<float>()[slot]);
  report.loss /= double(entries);
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm)) name_non_finite(report.loss, report.grad_norm);
  return report;
}

// Runs the step's items again with every op checked; the ops are deterministic, so the first fault shows itself, on the rank that has it.
// All ranks end with what the lowest one of those found.
void Trainer::name_non_finite(double loss, double norm) {
  const int64_t step = steps_done() + 1;
  struct Checked {
    Tape& tape;
    explicit Checked(Tape& t) : tape(t) { tape.check_finite(true); }
    ~Checked() { tape.check_finite(false); }
  } checked(tape_);
  const SlotRange own = slots_of(config_.batch, ranks_.rank(), ranks_.size());
  std::string found;
  for (int slot = own.begin; slot < own.end && found.empty(); slot++) {
    const int64_t slide = slide_of(slot);
    try {
      run(prepare(slot), slot, sum_.next());
    } catch (const Error& e) {
      found = fmt::format("train: step {}, slide {}: {}", step, slides_[size_t(slide)].slide->name, e.what());
    }
  }
  found = ranks_.first_text(found);
  if (!found.empty()) fail(Exit::data, "{}", found);
  fail(Exit::data, "train: step {}: loss {}, gradient norm {}, expected finite numbers; lower --lr", step, loss, norm);
}

void Trainer::use_average() {
  const Context& c = tape_.context();
  if (optimizer_.has_ema())
    copy(c.device, parameters_.values().data, c.device, optimizer_.ema.tensor().data, parameters_.values().bytes(), c.stream);
}

}  // namespace stflow
