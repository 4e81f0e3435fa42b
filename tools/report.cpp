#include "tools/report.h"

#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/prediction/maps.h"
#include "engine/file.h"
#include "tools/signals.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

Judged judged(std::string method, std::vector<float> prediction, const Report& r) {
  const auto g = int64_t(r.genes.size());
  Judged j{std::move(method), std::move(prediction), {}};
  j.scores = score(matrix(j.prediction, g), matrix(r.truth, g));
  return j;
}

double spread(const std::vector<double>& v) {
  double n = 0, sum = 0, squares = 0;
  for (double x : v)
    if (std::isfinite(x)) n++, sum += x, squares += x * x;
  return n > 1 ? std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1))) : 0;
}

// Genes by falling Pearson correlation of the model; those without one are left out.
std::vector<size_t> ranked(const Report& r) {
  const std::vector<double>& p = r.methods[0].scores.pearson;
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); i++)
    if (std::isfinite(p[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  return order;
}

std::string some_genes(const Report& r, const std::vector<size_t>& order, bool best) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(5, order.size()); i++) {
    const size_t g = best ? order[i] : order[order.size() - 1 - i];
    text += fmt::format("{}{} {:.3f}", i ? ", " : "", r.genes[g], r.methods[0].scores.pearson[g]);
  }
  return text;
}

}  // namespace

Report judge(const Predictor& model, const Selection& selection, const std::vector<Slide>& train, const std::vector<Slide>& val,
             const std::vector<Slide>& test) {
  Report r;
  r.genes = model.genes;
  r.selection = selection;
  const auto g = int64_t(r.genes.size());
  const Folds folds(train, val);
  const LinearModel own = fit_linear(train, folds, {}, g);
  check_stop();
  const LinearModel smoothed = fit_linear(train, folds, {8}, g);
  std::vector<float> predictions[3];
  for (const Slide& s : test) {
    r.samples.push_back(s.name);
    const std::vector<float> truth = log1p(s.counts);
    r.truth.insert(r.truth.end(), truth.begin(), truth.end());
    const std::vector<float> of[3] = {model.predict(s, {.each_draw = check_stop}).mean, own.predict(s), smoothed.predict(s)};
    for (int m = 0; m < 3; m++) predictions[m].insert(predictions[m].end(), of[m].begin(), of[m].end());
  }
  r.methods.push_back(judged("stflow", std::move(predictions[0]), r));
  r.methods.push_back(judged("ridge", std::move(predictions[1]), r));
  r.methods.push_back(judged("ridge, neighbour-smoothed features", std::move(predictions[2]), r));
  return r;
}

std::string report_text(const Report& r) {
  terminal::Table table({fmt::format("test: {}", fmt::join(r.samples, " ")), "Pearson", "sd over genes", "MSE"});
  for (const Judged& m : r.methods)
    table.row({m.method, fmt::format("{:.4f}", m.scores.mean_pearson), fmt::format("{:.3f}", spread(m.scores.pearson)),
               fmt::format("{:.4f}", m.scores.mean_mse)});
  std::string text = table.text();
  const std::vector<size_t> order = ranked(r);
  text += "best genes:  " + some_genes(r, order, true) + "\nworst genes: " + some_genes(r, order, false) + "\n";
  if (r.methods[0].scores.undefined)
    text += fmt::format("{} of {} genes are constant on the test sections: no correlation, left out of the mean\n",
                        r.methods[0].scores.undefined, r.genes.size());
  if (std::isfinite(r.selection.pearson))
    text += fmt::format("chosen on held-out training sections: Pearson {:.4f} with {:.0f} % denoiser, {:.0f} % linear expert\n",
                        r.selection.pearson, 100 * r.selection.blend, 100 * (1 - r.selection.blend));
  text += "log(1 + counts) is mostly sequencing depth: compare methods on the same spots and genes only\n";
  return text;
}

JsonOut report_json(const Report& r) {
  JsonOut genes, out;
  for (size_t i = 0; i < r.genes.size(); i++) genes[r.genes[i]] = r.methods[0].scores.pearson[i];
  const Scores& s = r.methods[0].scores;
  out["test"] = {{"samples", r.samples},           {"spots", r.truth.size() / r.genes.size()},
                 {"pearson_mean", s.mean_pearson}, {"pearson_sd", spread(s.pearson)},
                 {"mse_mean", s.mean_mse},         {"genes_without_correlation", s.undefined},
                 {"pearson_per_gene", genes}};
  const char* names[] = {"ridge", "ridge_smoothed"};
  for (size_t i = 0; i < 2; i++)
    out["baselines"][names[i]] = {{"pearson_mean", r.methods[i + 1].scores.mean_pearson},
                                  {"pearson_sd", spread(r.methods[i + 1].scores.pearson)},
                                  {"mse_mean", r.methods[i + 1].scores.mean_mse}};
  out["validation"] = {{"pearson_mean", r.selection.pearson},
                       {"pearson_denoiser", r.selection.denoiser},
                       {"pearson_expert", r.selection.expert},
                       {"blend", r.selection.blend},
                       {"lambda", r.selection.lambda}};
  return out;
}

void write_maps(const Report& r, const Section& section, const std::string& folder, int count) {
  make_output_folder(folder);
  // Spots do not overlap: half the distance to the nearest one, less a gap.
  double nearest = 1e300;
  for (size_t i = 0; i < section.spots.size(); i++)
    for (size_t j = 0; j < i; j++) {
      const double d = std::hypot(section.xy[2 * i] - section.xy[2 * j], section.xy[2 * i + 1] - section.xy[2 * j + 1]);
      if (d > 0) nearest = std::min(nearest, d);
    }
  const MapBackground background = map_background(section.source.image, section.mpp, section.xy, 0.42 * nearest);
  const std::vector<size_t> order = ranked(r);
  for (size_t rank = 0; rank < std::min(order.size(), size_t(count)); rank++) {
    check_stop();
    const size_t g = order[rank], width = r.genes.size();
    std::vector<float> measured, predicted;
    for (size_t i = 0; i < section.spots.size(); i++) {
      measured.push_back(r.truth[i * width + g]);
      predicted.push_back(r.methods[0].prediction[i * width + g]);
    }
    write_gene_map(folder + "/" + r.genes[g] + ".png", background, section.sample(), r.genes[g], measured, predicted,
                   r.methods[0].scores.pearson[g]);
  }
}

}  // namespace stflow
