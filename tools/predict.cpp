// stflow predict: a trained model on further sections.
#include <algorithm>
#include <filesystem>

#include "data/csv.h"
#include "engine/file.h"
#include "model/folds.h"
#include "model/metrics.h"
#include "model/predictor.h"
#include "tools/commands.h"
#include "tools/data_flags.h"
#include "tools/device_flag.h"
#include "tools/json_out.h"

namespace stflow {
int predict(const Args& args) {
  DataFlags data;
  DeviceFlag device_flag;
  std::string model_path, out;
  bool overwrite = false, clip = true;
  int64_t samples = 0;
  Options o("predict", "Predicts expression for sections with a trained model.",
            "stflow predict runs/1 --data section/ --out prediction.csv");
  o.argument("model", &model_path, "a run's folder or its model.safetensors");
  declare_data(o, data);
  o.section("Output");
  o.flag("out", &out, "CSV to write; for several sections a folder of <sample>.csv").placeholder("FILE");
  o.flag("samples", &samples, "draws that are averaged; 0: as in training").at_least(0);
  o.flag("clip", &clip, "no negative values");
  o.flag("overwrite", &overwrite, "replace an earlier file");
  declare_device(o, device_flag);
  if (!o.parse(args)) return 0;
  if (out.empty()) fail(Exit::usage, "--out: found nothing, expected a file to write");
  if (data.path.empty()) fail(Exit::usage, "--data: found nothing, expected sections to predict");
  if (std::filesystem::is_directory(model_path)) model_path += "/model.safetensors";
  if (std::filesystem::exists(out) && !overwrite) fail(Exit::create, "{}: exists, expected a new file; pass --overwrite", out);

  const ChosenDevice device = choose_device(device_flag);
  terminal::detailed("device: {}", device.text);
  Predictor model = Predictor::load(model_path, device.context);
  if (samples > 0) model.config.samples = int(samples);
  Dataset set = open_dataset(data.path, data.reading());
  for (const std::string& w : set.warnings) terminal::warn("{}", w);
  for (const std::string& n : set.notes) terminal::info("{}", n);
  const bool several = set.sections.size() > 1;
  if (several) make_output_folder(out);
  compare_origin(model.encoder, add_features(set.sections, data.features(device.context)), data.path);
  const Panel panel{model.genes, "the model's"};
  JsonOut json = JsonOut::object();
  for (Section& section : set.sections) {
    const auto& have = section.genes;
    const bool measured = std::all_of(panel.genes.begin(), panel.genes.end(),
                                      [&](const std::string& g) { return std::find(have.begin(), have.end(), g) != have.end(); });
    if (!measured) section.counts.clear();
    const Slide slide = make_slide(section, panel, data.missing());
    Prediction p = model.predict(slide);
    const auto g = int64_t(model.genes.size());
    if (measured) {
      const std::vector<float> truth = log1p(slide.counts);
      const double pearson = score(matrix(p.mean, g), matrix(truth, g)).mean_pearson;
      json[section.sample()]["pearson_mean"] = pearson;
      terminal::info("{}: {} spots, Pearson {:.4f} against its own counts", section.sample(), slide.size(), pearson);
    } else {
      terminal::info("{}: {} spots", section.sample(), slide.size());
    }
    if (clip)
      for (float& v : p.mean) v = std::max(v, 0.0f);
    write_predictions(several ? out + "/" + section.sample() + ".csv" : out, section, model.genes, p.mean);
    json[section.sample()]["spots"] = slide.size();
  }
  if (terminal::settings().json) print_json(json);
  return 0;
}

}  // namespace stflow
