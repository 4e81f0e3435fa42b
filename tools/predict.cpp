// stflow predict: a trained model on further sections.
#include <algorithm>
#include <filesystem>

#include "data/csv.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "model/folds.h"
#include "model/metrics.h"
#include "model/predictor.h"
#include "tools/commands.h"
#include "tools/data_flags.h"
#include "tools/device_flag.h"
#include "tools/json_out.h"
#include "tools/ranks.h"

namespace stflow {
namespace {

struct PredictFlags {
  DataFlags data;
  DeviceFlag device;
  RankFlags ranks;
  std::string model, out;
  bool overwrite = false, clip = true;
  int64_t samples = 0;
};

// This rank's share of the sections, the others' being left out: each rank reads all, which is quick, and predicts its own.
void keep_share(std::vector<Section>& sections, const Team& team) {
  std::vector<int64_t> sizes;
  for (const Section& s : sections) sizes.push_back(s.size());
  const std::vector<bool> mine = own_of(sizes, team, "predict");
  std::vector<Section> own;
  for (size_t i = 0; i < sections.size(); i++)
    if (mine[i]) own.push_back(std::move(sections[i]));
  sections = std::move(own);
}

// Predicts a section, writes the file and says how it went.
JsonOut predict_section(const Predictor& model, Section& section, const PredictFlags& f, const std::string& file) {
  const Panel panel{model.genes, "the model's"};
  const auto& have = section.genes;
  const bool measured = std::all_of(panel.genes.begin(), panel.genes.end(),
                                    [&](const std::string& g) { return std::find(have.begin(), have.end(), g) != have.end(); });
  if (!measured) section.counts.clear();
  const Slide slide = make_slide(section, panel, f.data.missing());
  Prediction p = model.predict(slide);
  const auto g = int64_t(model.genes.size());
  JsonOut json = JsonOut::object();
  if (measured) {
    const std::vector<float> truth = log1p(slide.counts);
    json["pearson_mean"] = score(matrix(p.mean, g), matrix(truth, g)).mean_pearson;
  }
  json["spots"] = slide.size();
  if (f.clip)
    for (float& v : p.mean) v = std::max(v, 0.0f);
  write_predictions(file, section, model.genes, p.mean);
  return json;
}

void tell(const std::string& sample, const JsonOut& result) {
  const auto spots = result["spots"].get<int64_t>();
  if (result.contains("pearson_mean") && result["pearson_mean"].is_number())
    terminal::info("{}: {} spots, Pearson {:.4f} against its own counts", sample, spots, result["pearson_mean"].get<double>());
  else terminal::info("{}: {} spots", sample, spots);
}

int predict_as(Team& team, const PredictFlags& f) {
  if (team.lead() && std::filesystem::exists(f.out) && !f.overwrite)
    fail(Exit::create, "{}: exists, expected a new file; pass --overwrite", f.out);
  const ChosenDevice device = choose_device(f.device, team.place().local_rank);
  terminal::detailed("device: {}", device.text);
  Predictor model = Predictor::load(f.model, device.context);
  if (f.samples > 0) model.config.samples = int(f.samples);
  Dataset set = open_dataset(f.data.path, f.data.reading());
  for (const std::string& w : set.warnings) terminal::warn("{}", w);
  for (const std::string& n : set.notes) terminal::info("{}", n);
  std::string samples;
  for (const Section& s : set.sections) samples += fmt::format("section {} of {} spots\n", s.sample(), s.size());
  team.same("what is to be done",
            fmt::format("model: sha256 {}\nsamples: {}\n{}", sha256(FileView(f.model).text()), model.config.samples, samples));
  const bool several = set.sections.size() > 1;
  std::vector<std::string> order;
  for (const Section& s : set.sections) order.push_back(s.sample());
  if (several) make_output_folder(f.out);
  keep_share(set.sections, team);
  if (!set.sections.empty())
    compare_origin(model.encoder, add_features(set.sections, f.data.features(device.context), alone()), f.data.path);
  JsonOut own = JsonOut::object();
  for (Section& section : set.sections) {
    own[section.sample()] = predict_section(model, section, f, several ? f.out + "/" + section.sample() + ".csv" : f.out);
    if (team.size() == 1) tell(section.sample(), own[section.sample()]);
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
  Options o("predict", "Predicts expression for sections with a trained model.",
            "stflow predict runs/1 --data section/ --out prediction.csv");
  o.argument("model", &f.model, "a run's folder or its model.safetensors");
  declare_data(o, f.data);
  o.section("Output");
  o.flag("out", &f.out, "CSV to write; for several sections a folder of <sample>.csv").placeholder("FILE");
  o.flag("samples", &f.samples, "draws that are averaged; 0: as in training").at_least(0);
  o.flag("clip", &f.clip, "no negative values");
  o.flag("overwrite", &f.overwrite, "replace an earlier file");
  declare_device(o, f.device);
  declare_ranks(o, f.ranks);
  if (!o.parse(args)) return 0;
  if (f.out.empty()) fail(Exit::usage, "--out: found nothing, expected a file to write");
  if (f.data.path.empty()) fail(Exit::usage, "--data: found nothing, expected sections to predict");
  if (std::filesystem::is_directory(f.model)) f.model += "/model.safetensors";
  return as_rank(f.ranks, o, [&](Team& team) { return predict_as(team, f); });
}

}  // namespace stflow
