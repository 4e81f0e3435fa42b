// STFlow itself: an optimiser step and a sampling run on a made-up slide.
#include "tools/bench/bench.h"
#include "tools/bench/made_up_slide.h"

namespace stflow::benchmark {
namespace {

JsonOut named(const std::string& preset, int64_t spots, const Context& context) {
  const char* how = context.device == Device::cpu ? "" : context.graphs ? ", in graphs" : ", kernel by kernel";
  return {{"name", preset + " preset" + how}, {"preset", preset}, {"spots", spots}};
}

}  // namespace

JsonOut measure_step(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& flag) {
  const Context context = choose_device(flag).context;
  const ModelConfig c = sized(preset);
  const Slide slide = made_up_slide(spots, c.denoiser.features);
  const Prior prior = fit_prior(PriorKind::zinb_fixed, slide.counts, kGenes);
  const Standardizer targets;
  std::vector<TrainingSlide> items{{&slide, slide.features, log1p(slide.counts)}};
  ParameterSet set(DType::f32, context.device);
  const Denoiser denoiser(set, c.denoiser);
  set.allocate(1);
  Trainer trainer(denoiser, set, items, c.geometry, prior, targets, c.training, 1, context);
  JsonOut row = named(preset, spots, context);
  if (context.device == Device::cuda) trainer.step();  // kernel by kernel; time_runs() warms up with the second, which is recorded
  row.update(time_runs(seconds, [&] { trainer.step(); }));
  row["arena_bytes"] = trainer.arena_bytes();
  add_device_memory(row, context);
  return row;
}

JsonOut measure_sample(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& flag) {
  const Context context = choose_device(flag).context;
  const ModelConfig c = sized(preset);
  const Slide slide = made_up_slide(spots, c.denoiser.features);
  const Prior prior = fit_prior(PriorKind::zinb_fixed, slide.counts, kGenes);
  const Array features =
      copy_of(view(const_cast<float*>(slide.features.data()), {spots, c.denoiser.features}), Device::cpu, context.device);
  ParameterSet set(DType::f32, context.device);
  const Denoiser denoiser(set, c.denoiser);
  set.allocate(1);
  Sampler sampler(denoiser, set, context);
  Geometry geometry(context);
  Array y({spots, kGenes}, DType::f32, context.device);
  const Array ranks = copy_of(slide.ranks(), Device::cpu, context.device);
  const PriorSampler start(prior, Standardizer(), context);
  uint32_t draw = 0;
  JsonOut row = named(preset, spots, context);
  const auto run = [&] {
    geometry.build(slide.coords(), slide.ranks(), c.geometry, DType::f32);
    sampler.set_slide(features, geometry);
    start.sample(ranks, RandomKey(1, Stream::prior, draw++, 0), y);
    sampler.sample(y, 5);
    if (context.device != Device::cpu) (void)copy_of(y, context.device, Device::cpu);
  };
  if (context.device == Device::cuda) run();  // likewise
  row.update(time_runs(seconds, run));
  row["arena_bytes"] = sampler.arena_bytes();
  add_device_memory(row, context);
  return row;
}

}  // namespace stflow::benchmark
