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
      tape_(context),
      arena_(0, context.device),
      flow_(0, context.device),
      told_(Storage::beside(context.device, size_t(config.batch) * sizeof(Now))),
      losses_({config.batch}, DType::f32, context),
      replays_(context) {
  check(!slides.empty(), "trainer: no slides");
  check(parameters.device() == context.device, "trainer: the parameters are not in the memory of the context's device");
  optimizer_.allocate(parameters, config.adam.ema_decay > 0);
  size_t largest = 0;
  for (size_t s = 0; s < slides.size(); s++) {
    resident_.push_back(std::make_unique<ResidentSlide>(slides[s], geometry, context));
    if (slides[s].slide->size() > slides[largest].slide->size()) largest = s;
  }
  // On a GPU each slot's disc has its own memory: the next one is on its way while one is computed.
  const bool ahead = context.device == Device::cuda && config.item == ItemLaw::disc;
  for (int i = 0; i < (ahead ? config.batch : 1); i++) {
    items_.push_back(std::make_unique<Item>(context));
    if (ahead) items_.back()->reserve(*resident_[largest], geometry);
  }
  flow_.reserve(aligned(size_t(slides[largest].slide->size() * denoiser.config().genes) * sizeof(float)) + kAlign);
  items_[0]->set_whole(*resident_[largest]);
  run(*items_[0], 0, {});  // plans only
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
  return config_.item == ItemLaw::whole ? total : Item::disc_size(total, disc_key(slot, steps_done()));
}

const Item& Trainer::prepare(int slot) {
  Item& item = *items_[size_t(slot) % items_.size()];
  const ResidentSlide& slide = *resident_[size_t(slide_of(slot))];
  if (config_.item == ItemLaw::whole) item.set_whole(slide);
  else item.set_disc(slide, geometry_config_, disc_key(slot, steps_done()));
  return item;
}

// While a GPU computes: the spots of the next step's discs.
void Trainer::choose_next() {
  if (tape_.context().device == Device::cpu || config_.item == ItemLaw::whole) return;
  const int64_t next = steps_done() + 1;
  for (int slot = own_slots().begin; slot < own_slots().end && next < config_.steps; slot++)
    items_[size_t(slot)]->choose_disc(resident_[size_t(slide_of(slot, next))]->slide(), disc_key(slot, next));
}

// Writes the slot's Now, by the one copy from the host that a slot makes. Each slot has pinned memory of its own, which stays as it is
// until the step has been waited for.
void Trainer::tell(int slot, int64_t spots) {
  const Context c = tape_.context();
  const uint32_t step = uint32_t(steps_done()), place = uint32_t(slot);
  const Philox4 r = RandomKey(seed_, Stream::time, step, place).draw(0);
  Now& now = static_cast<Now*>(told_.data())[slot];
  now = {{step, place}, float(open01(r.v[0], r.v[1])), float(spots)};
  copy(c.device, flow_.data(), Device::cpu, &now, sizeof now, c.stream);
}

bool Trainer::in_graphs() const { return tape_.context().device == Device::cuda && !tape_.watched(); }

// Records the slot's item, plans, and unless `sums` is empty (planning only) runs it: adds its gradient, its number of spots and its sum of
// squared errors there. `finished`, if given, is called with each bucket in turn once its part of that is final.
void Trainer::run(const Item& item, int slot, const Tensor& sums, const std::function<void(size_t bucket)>& finished) {
  const Context c = tape_.context();
  const uint32_t step = uint32_t(steps_done()), place = uint32_t(slot);
  static_assert(sizeof(Now) <= kAlign);
  auto* now = static_cast<Now*>(flow_.data());
  const KeyPlace* keys = c.device == Device::cuda ? &now->place : nullptr;
  const Tensor time = view(&now->time, {1});
  const Tensor yt{static_cast<char*>(flow_.data()) + kAlign, item.targets().shape, DType::f32};
  const Geometry& g = item.geometry();
  Var loss;
  const auto record = [&] {
    tape_.reset();
    Dropouts dropouts{.training = true, .key = RandomKey(seed_, Stream::dropout, step, place), .now = keys};
    const Denoiser::Slide slide = denoiser_.slide(tape_.input(item.inputs()), tape_.input(g.frames().values), dropouts);
    Var prediction = denoiser_.step(tape_.input(yt), tape_.input(time), slide, g.graph(), dropouts).prediction;
    tape_.layer("loss");
    const bool padded = c.device == Device::cuda && config_.item == ItemLaw::disc;
    loss = mse(prediction, tape_.input(item.targets()), Reduction::sum, padded ? tape_.input(view(&now->spots, {1})) : Var());
    arena_bytes_ = std::max(arena_bytes_, tape_.plan(true));
    if (sums.data) tape_.bind(arena_, parameters_, view(sums.as<float>(), {parameters_.grads().size()}));
  };
  if (!sums.data) return record();
  // Backward part by part: each ends where a bucket is final, the last with the first node. A program unlike that of the largest slide, for
  // which the buckets were cut, goes backward in the first part, as the number of parts must be that of all ranks.
  const size_t parts = finished ? buckets_.size() : 1;
  const auto first = [&](size_t part) { return part + 1 < parts && tape_.size() == planned_ ? buckets_[part].first : 0; };
  const auto work = [&](size_t part) {
    if (part > 0) return tape_.backward(loss, first(part), first(part - 1));
    copy(c.device, sums.as<float>() + parameters_.size(), c.device, &now->spots, sizeof now->spots, c.stream);
    prior_.sample(item.ranks(), RandomKey(seed_, Stream::prior, step, place), yt, keys);
    on(c, [&](auto b) { interpolate(b, time, item.targets(), yt); });
    tape_.forward();
    copy(c.device, sums.as<float>() + parameters_.grads().size() + slot, c.device, tape_.value(loss).data, sizeof(float), c.stream);
    tape_.backward(loss, first(0));
  };
  const auto between = [&](size_t part) {
    if (finished) finished(part);
  };
  tell(slot, item.size());
  if (!in_graphs()) {
    record();
    for (size_t part = 0; part < parts; part++) work(part), between(part);
    return;
  }
  const Graph& graph = g.graph();
  replays_.run("training step",
               {uint64_t(slot), uint64_t(graph.n), uint64_t(graph.k), uint64_t(g.frames().values.size()), address(sums.data),
                address(item.inputs().data), address(item.targets().data), address(item.ranks().data), address(g.frames().values.data),
                address(graph.idx.data), address(graph.distance.data), address(graph.reverse_start.data), address(graph.reverse.data),
                address(arena_.data()), address(flow_.data()), uint64_t(parts)},
               parts, record, work, between);
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
  const SlotRange own = own_slots();
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
  const auto exchange = [&](size_t bucket) {
    const Bucket& b = buckets_[bucket];
    const Tensor part = idle ? view(mine_.as<float>() + b.begin, {b.end - b.begin}) : sum_.part(b.begin, b.end);
    ranks_.all_reduce_sum(part, b.name.c_str(), reduce_ == Reduce::overlapped);
  };
  const bool early = !idle && reduce_ == Reduce::overlapped;
  if (idle) {
    fill(Device::cuda, mine_.tensor().data, 0, mine_.tensor().bytes(), tape_.context().stream);
  } else {
    run_slots(own.begin, own.end - 1);
    run(prepare(own.end - 1), own.end - 1, sum_.next(), early ? std::function<void(size_t)>(exchange) : nullptr);
  }
  for (size_t i = 0; i < buckets_.size() && !early; i++) exchange(i);
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
  choose_next();
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
  const SlotRange own = own_slots();
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
