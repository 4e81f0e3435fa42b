// stflow predict: a trained model on slides and sections it has never seen.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/dataset.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "engine/text.h"
#include "model/folds.h"
#include "model/geometry.h"
#include "model/metrics.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/inspect/sections.h"
#include "tools/json_out.h"
#include "tools/memory.h"
#include "tools/predict/inputs.h"
#include "tools/predict/pictures.h"
#include "tools/predict/plan.h"
#include "tools/predict/result.h"
#include "tools/predict/stored_features.h"
#include "tools/ranks.h"
#include "tools/signals.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

struct PredictFlags {
  InputFlags in;
  DeviceFlag device;
  RankFlags ranks;
  PictureFlags pictures;
  std::string model, out, format = "h5ad", max_mem;
  std::vector<std::string> quantiles{"0.05", "0.95"};
  bool overwrite = false, clip = true, keep_samples = false, dry_run = false;
  int64_t samples = 0;
};

/// What all sections are predicted with.
struct Job {
  const PredictFlags& flags;
  const Predictor& model;
  const std::string model_hash;
  PredictOptions options;
  std::vector<double> quantiles;
  uint64_t limit = 0;  // bytes; 0: none
  std::vector<Section> known;
};

// This rank's share of the sections, the others' being left out: each rank reads all, which is quick, and predicts its own.
void keep_share(std::vector<PredictInput>& inputs, const Team& team) {
  std::vector<int64_t> sizes;
  for (const PredictInput& i : inputs) sizes.push_back(i.section.size());
  const std::vector<bool> mine = own_of(sizes, team, "predict");
  std::vector<PredictInput> own;
  for (size_t i = 0; i < inputs.size(); i++)
    if (mine[i]) own.push_back(std::move(inputs[i]));
  inputs = std::move(own);
}

std::vector<double> quantiles_of(const std::vector<std::string>& words) {
  std::vector<double> q;
  for (const std::string& w : words) {
    const auto value = parse_number(w);
    if (!value || !(*value >= 0 && *value <= 1)) fail(Exit::usage, "--quantiles: found '{}', expected numbers from 0 to 1", w);
    q.push_back(*value);
  }
  return q;
}

// Predicts a section, writes the file and says how it went.
JsonOut predict_section(Job& job, PredictInput& input, PatchEncoder* encoder, const std::string& path) {
  const PredictFlags& f = job.flags;
  Section& section = input.section;
  const Panel panel{job.model.genes, "the model's"};
  const auto have = columns_of(section);
  const bool measured = std::all_of(panel.genes.begin(), panel.genes.end(), [&](const std::string& g) { return have.contains(g); });
  if (!measured) section.counts = {};
  const bool given = !section.features.empty(), embeds = !given && !f.dry_run;
  if (!input.slide) input.image = tiled_image(section, f.in.slides.bad_tiles == "skip");
  if (!given && encoder && f.in.slides.bad_tiles == "skip") keep_decodable(input, *encoder);
  if (embeds) section.feature_dim = encoder->dim();
  std::vector<float> features = std::exchange(section.features, {});  // not held twice
  Slide slide = make_slide(section, panel, f.in.data.missing());
  slide.features = std::move(features);
  if (const Section* known = known_of(job.known, section.sample()))
    job.options.known = known_values(*known, section.spots, job.model.genes);
  else job.options.known.clear();

  const PredictionPlan plan = plan_prediction(job.model, slide.size(), job.options, job.limit, rss_bytes());
  job.options.most_spots = plan.most_spots;
  terminal::info("plan: {}: {}", section.sample(), text_of(plan));
  std::unique_ptr<FeatureStore> store;
  if (embeds) {
    const size_t room = plan.limit ? plan.limit - plan.held : SIZE_MAX;
    store = store_features(input, *encoder, f.in.data.cache, folder_of(path), room);
    slide.lent = store->rows();
  }
  JsonOut json{{"spots", slide.size()}};
  if (f.dry_run) return json;
  job.options.each_draw = [&] {
    check_stop();
    if (store) store->forget();
  };
  Prediction p = job.model.predict(slide, job.options);
  const auto g = int64_t(panel.genes.size());
  if (measured && !slide.counts.empty()) json["pearson_mean"] = score(matrix(p.mean, g), matrix(log1p(slide.counts), g)).mean_pearson;
  json["tiles"] = p.tiles;
  json["file"] = path;
  if (!input.missing.empty()) json["missing"] = input.missing;
  PredictionFile file = prediction_file(job.model, job.model_hash, input, slide, job.options, job.quantiles, std::move(p), f.clip);
  slide = {};
  if (path.ends_with(".h5ad") || !f.pictures.maps.empty()) add_image(input, file);
  check_stop();
  write_prediction(path, file);
  write_pictures(f.pictures, input, file, path, f.overwrite);
  return json;
}

// Features that came with sections, which all of them have if one has, are those that the model was trained on.
void compare_given(std::vector<PredictInput>& inputs, const Predictor& model, const FeatureOptions& options, const std::string& path) {
  std::vector<Section> sections;
  for (PredictInput& i : inputs)
    if (!i.slide) sections.push_back(std::move(i.section));
  if (std::any_of(sections.begin(), sections.end(), [](const Section& s) { return !s.features.empty(); }))
    compare_origin(model.encoder, add_features(sections, options, alone()), path);
  size_t next = 0;
  for (PredictInput& i : inputs)
    if (!i.slide) i.section = std::move(sections[next++]);
}

void tell(const std::string& sample, const JsonOut& result) {
  const auto spots = result["spots"].get<int64_t>();
  const std::string where = result.contains("file") ? " in " + result["file"].get<std::string>() : "";
  if (result.contains("pearson_mean") && result["pearson_mean"].is_number())
    terminal::info("{}: {} spots{}, Pearson {:.4f} against its own counts", sample, spots, where, result["pearson_mean"].get<double>());
  else terminal::info("{}: {} spots{}", sample, spots, where);
}

std::vector<Section> read_known(const InputFlags& f) {
  if (f.known.empty()) return {};
  DataOptions reading = f.data.reading();
  reading.embeddings.clear(), reading.mpp = 0;  // only its counts and places are looked at
  Dataset set = open_dataset(f.known, reading);
  for (const std::string& w : set.warnings) terminal::warn("{}", w);
  return std::move(set.sections);
}

int predict_as(Team& team, const PredictFlags& f) {
  if (team.lead() && fs::exists(f.out) && !f.overwrite && !f.dry_run)
    fail(Exit::create, "{}: exists, expected a new file; pass --overwrite", f.out);
  ChosenDevice device = choose_device(f.device, team.place().local_rank);
  device.context = context_of(f.in.data.encoder.precision, device.context);
  terminal::detailed("device: {}", device.text);
  catch_stop_signals();
  Predictor model = Predictor::load(f.model, device.context);
  if (f.samples > 0) model.config.samples = int(f.samples);
  check_pictures(f.pictures, model.genes);
  Job job{f,
          model,
          sha256(FileView(f.model).text()),
          {},
          quantiles_of(f.quantiles),
          f.max_mem.empty() ? 0 : parse_bytes("max-mem", f.max_mem),
          read_known(f.in)};
  if (!model.residuals.active()) job.options.quantiles = job.quantiles;
  job.options.keep_draws = f.keep_samples;
  if (model.blend == 0 && (f.keep_samples || !f.in.known.empty()))
    terminal::warn("{}: its linear expert alone predicts (blend 0): there are no draws to keep, and no spot sees the measured ones",
                   f.model);

  FeatureOptions features = f.in.data.features(device.context);
  std::unique_ptr<PatchEncoder> encoder;
  const auto patch_encoder = [&]() -> PatchEncoder& {
    if (!encoder) encoder = std::make_unique<PatchEncoder>(features.encoder);
    return *encoder;
  };
  const bool slides =
      std::any_of(f.in.paths.begin(), f.in.paths.end(), [](const std::string& p) { return !fs::exists(p) || !is_spatial(p); });
  const Section* measured = slides && job.known.size() == 1 ? job.known.data() : nullptr;
  if (slides && job.known.size() > 1)
    fail(Exit::data, "{}: {} sections, expected the measured spots of one slide", f.in.known, job.known.size());
  std::vector<PredictInput> inputs = read_inputs(f.in, slides ? patch_encoder().scaled_spec().microns : 0, measured);

  std::string samples;
  for (const PredictInput& i : inputs) samples += fmt::format("section {} of {} spots\n", i.section.sample(), i.section.size());
  team.same("what is to be done", fmt::format("model: sha256 {}\nsamples: {}\n{}", job.model_hash, model.config.samples, samples));
  const bool several = inputs.size() > 1;
  std::vector<std::string> order;
  for (const PredictInput& i : inputs) order.push_back(i.section.sample());
  if (!f.dry_run) make_output_folder(several ? f.out : folder_of(f.out));
  if (!several) check_prediction_name(f.out);
  keep_share(inputs, team);
  compare_given(inputs, model, features, f.in.paths[0]);
  for (const PredictInput& i : inputs)
    if (i.section.features.empty() && (i.slide || !f.dry_run))
      compare_origin(model.encoder, patch_encoder().origin(), i.slide ? i.section.source.image : f.in.paths[0]);

  JsonOut own = JsonOut::object();
  for (PredictInput& i : inputs) {
    const std::string sample = i.section.sample();
    try {
      own[sample] = predict_section(job, i, encoder.get(), several ? f.out + "/" + sample + "." + f.format : f.out);
    } catch (const Stopped&) {
      fail(Exit::preempted, "stopped by a signal while predicting {}, expected the end; start again", sample);
    }
    if (team.size() == 1) tell(sample, own[sample]);
    i = {};
  }
  JsonOut found = JsonOut::object(), json = JsonOut::object();
  for (const std::string& text : team.collect("results", own.dump())) found.update(JsonOut::parse(text));
  for (const std::string& sample : order) {
    if (!found.contains(sample)) continue;
    if (team.size() > 1) tell(sample, found[sample]);
    json[sample] = found[sample];
  }
  if (terminal::settings().json && team.lead()) print_json(json);
  return 0;
}

}  // namespace

int predict(const Args& args) {
  PredictFlags f;
  Options o("predict", "Predicts expression from histology with a trained model.", "stflow predict slide.svs --model runs/1 -o slide.h5ad");
  o.argument("input", &f.in.paths, "slides or folders of them; sections in a recognised layout, a manifest or an .h5ad file")
      .placeholder("INPUT");
  o.flag("model", &f.model, "a run's folder or its model.safetensors").placeholder("RUN").letter('m');
  o.section("Output");
  o.flag("out", &f.out, "file to write: .h5ad, .csv, .geojson or .geojson.gz; for several sections a folder")
      .placeholder("FILE")
      .letter('o');
  o.flag("format", &f.format, "of the files in a folder").choices({"h5ad", "csv", "geojson", "geojson.gz"});
  o.flag("clip", &f.clip, "no negative values");
  o.flag("overwrite", &f.overwrite, "replace earlier files");
  declare_pictures(o, f.pictures);
  o.flag("dry-run", &f.dry_run, "show the plan and stop");
  o.section("Sampling");
  o.flag("samples", &f.samples, "joint draws, of which the mean is the prediction; 0: as in training").range(0, 4096);
  o.flag("quantiles", &f.quantiles, "of what would be measured, as layers of an .h5ad file").placeholder("Q,...");
  o.flag("keep-samples", &f.keep_samples, "every draw as a layer of an .h5ad file");
  o.flag("known", &f.in.known, "measured spots, which are kept and seen by all others: a data set, a manifest or an .h5ad file")
      .placeholder("FILE");
  o.flag("max-mem", &f.max_mem, "memory to stay below: large slides are predicted in tiles, with the same result").placeholder("SIZE");
  o.section("Slides");
  o.flag("coords", &f.in.coordinates, "where a slide's spots are: CSV with x and y (centres), or TRIDENT's or CLAM's HDF5 file")
      .placeholder("FILE");
  declare_slide(o, f.in.slides);
  declare_tissue(o, f.in.tissue);
  o.section("Data");
  declare_features(o, f.in.data);
  declare_device(o, f.device);
  declare_ranks(o, f.ranks);
  if (!o.parse(args)) return 0;
  if (f.model.empty()) fail(Exit::usage, "--model: found nothing, expected a run's folder or its model.safetensors");
  if (f.out.empty()) fail(Exit::usage, "--out: found nothing, expected a file to write");
  if (fs::is_directory(f.model)) f.model += "/model.safetensors";
  return as_rank(f.ranks, o, [&](Team& team) { return predict_as(team, f); });
}

}  // namespace stflow
