#include "tools/eval_join.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "data/dataset.h"
#include "data/legacy_st.h"
#include "data/panel.h"
#include "data/prediction/read.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"
#include "model/scaling.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

/// A counts table by itself: no coordinates are needed here.
Section read_counts_file(const std::string& path, const DataOptions& reading) {
  const FileView file(path);
  Counts counts = read_counts(file.text(), path, reading);
  Section s;
  std::string name = std::filesystem::path(path).filename().string();
  s.source.sample = name.substr(0, name.find(".tsv"));
  s.source.counts = path;
  s.spots = std::move(counts.spots), s.genes = std::move(counts.genes), s.counts = std::move(counts.values);
  return s;
}

Section read_truth_table(const std::string& path, const DataOptions& reading) {
  ReadPrediction table = read_prediction(path);
  for (float& v : table.mean) {
    if (v < 0 || (reading.values == Values::counts && v != std::floor(v)))
      fail(Exit::data, "{}: found {}, expected {}", path, v,
           reading.values == Values::counts ? "counts, whole numbers from 0; --x-is log1p takes others" : "log(1 + counts), from 0");
    if (reading.values == Values::log1p) v = float(std::expm1(double(v)));
  }
  Section s;
  s.source.sample = table.sample, s.source.counts = path;
  s.spots = std::move(table.spots), s.genes = std::move(table.genes);
  s.counts = sparse(table.mean, int64_t(s.genes.size()));
  return s;
}

std::vector<Section> read_truth(const std::string& path, const DataOptions& reading) {
  std::vector<Section> all;
  if (path.ends_with(".tsv") || path.ends_with(".tsv.gz")) all.push_back(read_counts_file(path, reading));
  else if (path.ends_with(".csv") && is_prediction_table(FileView(path).text())) all.push_back(read_truth_table(path, reading));
  else {
    Dataset set = open_dataset(path, reading);
    for (Section& s : set.sections)
      if (!s.counts.empty()) all.push_back(std::move(s));
  }
  if (all.empty()) fail(Exit::data, "{}: no section with counts, expected what was measured", path);
  return all;
}

std::string text_of(const Overlap& o, const std::string& what) {
  return fmt::format("{} {} only in the prediction, {} only in the truth, {} in both", o.prediction - o.both, what, o.truth - o.both,
                     o.both);
}

/// Half of the smaller side must be in the other.
void require(const Overlap& o, const std::string& where, const std::string& what) {
  if (o.both == 0 || 2 * o.both < std::min(o.prediction, o.truth))
    fail(Exit::data, "{}: {}, expected at least half to match", where, text_of(o, what));
}

using Places = std::unordered_map<std::string, int64_t>;
Places places_of(const std::vector<std::string>& names) {
  Places places;
  for (size_t i = 0; i < names.size(); i++) places.emplace(names[i], int64_t(i));
  return places;
}

struct Pair {
  std::string prediction;  // its file
  const Section* truth;
};

std::vector<Pair> pairs_of(const std::vector<std::string>& files, const std::vector<Section>& truths, const std::string& path) {
  if (files.size() == 1 && truths.size() == 1) return {{files[0], truths.data()}};
  std::vector<Pair> pairs;
  for (const std::string& file : files)
    for (const Section& t : truths)
      if (t.sample() == std::filesystem::path(file).stem()) pairs.push_back({file, &t});
  const Overlap samples{int64_t(files.size()), int64_t(truths.size()), int64_t(pairs.size())};
  require(samples, path, "samples");
  if (samples.both < samples.prediction) terminal::warn("{}", text_of(samples, "samples"));
  else if (samples.both < samples.truth) terminal::info("{}", text_of(samples, "samples"));
  return pairs;
}

std::string name_of(const Pair& p) { return std::filesystem::path(p.prediction).stem().string(); }

/// The prediction's genes that the truth has, by name or id.
std::vector<std::string> common_genes(const ReadPrediction& p, const Section& truth, Overlap& o) {
  std::set<std::string_view> measured(truth.genes.begin(), truth.genes.end());
  measured.insert(truth.gene_ids.begin(), truth.gene_ids.end());
  std::vector<std::string> genes;
  std::copy_if(p.genes.begin(), p.genes.end(), std::back_inserter(genes), [&](const std::string& g) { return measured.contains(g); });
  o = {int64_t(p.genes.size()), int64_t(truth.genes.size()), int64_t(genes.size())};
  require(o, p.path, "genes");
  if (o.both < o.prediction) terminal::warn("{}: {}", p.sample, text_of(o, "genes"));
  return genes;
}

/// Rows of the prediction and of the truth that are of one spot.
std::vector<std::pair<int64_t, int64_t>> common_spots(const ReadPrediction& p, const Section& truth, Overlap& o) {
  const Places places = places_of(truth.spots);
  std::vector<std::pair<int64_t, int64_t>> rows;
  for (size_t i = 0; i < p.spots.size(); i++)
    if (const auto found = places.find(p.spots[i]); found != places.end()) rows.emplace_back(int64_t(i), found->second);
  o = {int64_t(p.spots.size()), truth.size(), int64_t(rows.size())};
  require(o, p.path, "spots");
  if (o.both < o.prediction || o.both < o.truth) terminal::warn("{}: {}", p.sample, text_of(o, "spots"));
  return rows;
}

void keep_genes(std::vector<std::string>& genes, const std::vector<std::string>& others) {
  const std::set<std::string_view> other(others.begin(), others.end());
  std::erase_if(genes, [&](const std::string& g) { return !other.contains(g); });
}

void append_rows(std::vector<float>& to, const std::vector<float>& from, const ReadPrediction& p,
                 const std::vector<std::pair<int64_t, int64_t>>& rows, const std::vector<std::string>& genes) {
  const Places places = places_of(p.genes);
  std::vector<size_t> columns;
  for (const std::string& g : genes) columns.push_back(size_t(places.at(g)));
  for (const auto& [row, other] : rows)
    for (const size_t c : columns) to.push_back(from[size_t(row) * p.genes.size() + c]);
}

}  // namespace

Joined join(const std::string& predictions, const std::string& truth, const DataOptions& reading) {
  const std::vector<std::string> files = prediction_files(predictions);
  const std::vector<Section> truths = read_truth(truth, reading);
  const std::vector<Pair> pairs = pairs_of(files, truths, predictions);
  Joined j;
  j.spots_in.resize(pairs.size()), j.genes_in.resize(pairs.size());
  std::vector<ReadPrediction> all;
  for (const Pair& pair : pairs) {
    all.push_back(read_prediction(pair.prediction));
    const std::vector<std::string> genes = common_genes(all.back(), *pair.truth, j.genes_in[j.samples.size()]);
    if (j.samples.empty()) j.genes = genes;
    else keep_genes(j.genes, genes);
    j.samples.push_back(name_of(pair));
  }
  if (j.genes.empty()) fail(Exit::data, "{}: no gene in all {} predictions, expected the same genes", predictions, all.size());
  for (const auto& [name, values] : all[0].layers)
    if (std::all_of(all.begin(), all.end(), [&, layer = name](const ReadPrediction& p) { return p.layers.contains(layer); }))
      j.layers[name] = {};
  const auto g = int64_t(j.genes.size());
  for (size_t i = 0; i < all.size(); i++) {
    const ReadPrediction& p = all[i];
    const Section& t = *pairs[i].truth;
    const auto rows = common_spots(p, t, j.spots_in[i]);
    append_rows(j.prediction, p.mean, p, rows, j.genes);
    for (auto& [name, values] : j.layers) append_rows(values, p.layers.at(name), p, rows, j.genes);
    const PanelCounts measured = counts_of(t, {j.genes, "the predictions'"});
    for (const auto& [row, other] : rows)
      for (int64_t k = 0; k < g; k++) {
        const float count = measured.values[size_t(other * g + k)];
        if (!std::isfinite(count))
          fail(Exit::data, "{}: {} for spot {} and gene {}, expected a count", t.source.counts, count, shown(t.spots[size_t(other)]),
               shown(j.genes[size_t(k)]));
        j.truth.push_back(count);
      }
    j.ends.push_back(int64_t(j.truth.size()) / g);
  }
  j.truth = log1p(j.truth);
  return j;
}

}  // namespace stflow
