#include "tools/predict/result.h"

#include <algorithm>
#include <cmath>

#include "engine/text.h"
#include "engine/version.h"
#include "ops/knn.h"
#include "tools/features.h"

namespace stflow {
namespace {

// "q05" for 0.05, "q025" for 0.025.
std::string quantile_name(double q) {
  const std::string text = fmt::format("{:.2f}", q), exact = shortest(q);
  const std::string digits = exact.size() > text.size() ? exact : text;
  return q >= 1 ? "q100" : "q" + digits.substr(2);
}

std::map<std::string, std::string> about(const Predictor& model, const std::string& hash, const Section& s) {
  const ModelConfig& c = model.config;
  std::map<std::string, std::string> facts{
      {"version", kVersion},
      {"model_sha256", hash},
      {"preset", c.preset},
      {"seed", std::to_string(c.seed)},
      {"sampler", fmt::format("{}, {} points, {} draws of {} members", c.solver == Solver::euler ? "euler" : "heun", c.sample_steps,
                              c.samples, c.members)},
      {"values", "log(1 + counts)"}};
  if (s.mpp > 0) facts["mpp"] = shortest(s.mpp), facts["mpp_from"] = s.mpp_from;
  for (const auto& [key, value] : model.encoder) facts["encoder_" + key] = value;
  return facts;
}

double median_spacing(const Slide& slide) {
  Graph graph;
  build_knn(slide.coords(), slide.ranks(), 1, graph);
  return graph.k ? median_neighbour_distance(graph) : 0;
}

// The draws spread as the model is unsure of the mean. A measurement is farther from it, by what left-out spots have shown: the spread
// becomes that of both, and quantiles are those of a new measurement.
std::vector<std::vector<float>> add_residuals(const Residuals& residuals, const std::vector<double>& quantiles,
                                              const std::vector<float>& known, Prediction& p, PredictionFile& file) {
  const size_t genes = residuals.sd.size();
  check(genes > 0, "residuals of no genes");
  std::vector<std::vector<float>> all(quantiles.size(), p.mean);
  file.about["spread"] = "of a measurement, from residuals of left-out training spots; draws_std is that of the draws";
  file.layers["draws_std"] = p.sd;
  std::vector<double> shift(genes);
  const auto is_known = [&](size_t i) { return !known.empty() && !std::isnan(known[i]); };
  for (size_t i = 0; i < p.sd.size(); i++)
    if (!is_known(i)) p.sd[i] = float(std::hypot(double(p.sd[i]), residuals.sd[i % genes]));
  for (size_t q = 0; q < quantiles.size(); q++) {
    for (size_t g = 0; g < genes; g++) shift[g] = residuals.quantile(int64_t(g), quantiles[q]);
    for (size_t i = 0; i < all[q].size(); i++)
      if (!is_known(i)) all[q][i] = float(double(all[q][i]) + shift[i % genes]);
  }
  return all;
}

}  // namespace

PredictionFile prediction_file(const Predictor& model, const std::string& hash, const PredictInput& input, const Slide& slide,
                               const PredictOptions& options, const std::vector<double>& quantiles, Prediction&& p, bool clipped) {
  const auto clip = [&](std::vector<float>& values) {
    for (float& v : values)
      if (clipped) v = std::max(v, 0.0f);
  };
  PredictionFile file;
  file.section = &input.section;
  file.genes = model.genes;
  file.about = about(model, hash, input.section);
  if (model.residuals.active()) p.quantiles = add_residuals(model.residuals, quantiles, options.known, p, file);
  else file.about["spread"] = "of the draws alone";
  file.layers["std"] = std::move(p.sd);
  for (size_t q = 0; q < p.quantiles.size(); q++) {
    clip(p.quantiles[q]);
    file.layers[quantile_name(quantiles[q])] = std::move(p.quantiles[q]);
  }
  clip(p.mean);
  file.mean = std::move(p.mean);
  for (size_t d = 0; d < p.draws.size(); d++) {
    clip(p.draws[d]);
    file.layers["sample_" + std::to_string(d)] = std::move(p.draws[d]);
  }
  const auto column = [](const auto& values) { return std::vector<float>(values.begin(), values.end()); };
  if (!model.validation.empty()) file.gene_columns["train_pcc"] = column(model.validation);
  if (model.targets.active()) file.gene_columns["mean"] = column(model.targets.mean), file.gene_columns["std"] = column(model.targets.sd);
  const Places& places = input.places;
  if (!places.array_row.empty())
    file.spot_columns["array_row"] = column(places.array_row), file.spot_columns["array_col"] = column(places.array_col);
  if (model.novelty.active() && model.novelty.dim == slide.dim) {
    constexpr int64_t kPiece = 16384;  // spots whose features are resident at once
    std::vector<float>&distance = file.spot_columns["feature_distance"], &novel = file.spot_columns["out_of_distribution"];
    for (int64_t first = 0; first < slide.size(); first += kPiece) {
      const size_t count = size_t(std::min(kPiece, slide.size() - first) * slide.dim);
      const NoveltyScores scores = model.novelty.score({slide.feature_row(first), count}, model.pipeline.scale, first);
      distance.insert(distance.end(), scores.ratio.begin(), scores.ratio.end());
      novel.insert(novel.end(), scores.novel.begin(), scores.novel.end());
      if (options.each_draw) options.each_draw();
    }
  }
  if (!options.known.empty()) {
    std::vector<float>& measured = file.spot_columns["measured"];
    const size_t g = model.genes.size();
    for (size_t i = 0; i < size_t(slide.size()); i++)
      measured.push_back(std::all_of(options.known.begin() + int64_t(i * g), options.known.begin() + int64_t((i + 1) * g),
                                     [](float v) { return !std::isnan(v); }));
  }
  constexpr double kVisiumSpot = 0.55;  // its spots are 55 um wide and 100 um apart
  file.square_spots = input.square;
  file.spot_diameter = input.square ? places.pitch : kVisiumSpot * (places.pitch > 0 ? places.pitch : median_spacing(slide));
  return file;
}

void add_image(const PredictInput& input, PredictionFile& file) {
  constexpr int64_t kLongest = 2000;  // 10x' own hires image
  const Section& s = input.section;
  if (s.source.image.empty()) return;
  if (input.slide) {
    file.hires = input.slide->thumbnail(kLongest);
  } else if (const auto slide = tiled_image(s, true)) {
    file.hires = slide->thumbnail(kLongest);
  } else {
    const int64_t longest = std::max(s.width, s.height);
    file.hires = read_image(s.source.image, int(std::max<int64_t>(1, (longest + kLongest - 1) / kLongest)));
  }
  file.hires_scale = double(file.hires->width) / double(s.width);
}

}  // namespace stflow
