#include "data/embeddings.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "data/answer.h"
#include "data/hdf5_file.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

std::string read_file(const std::string& path) {
  Hdf5File file(path);
  // TRIDENT's files have no barcodes; those that stflow embed writes do.
  const std::string data = !file.has("embeddings") && file.has("features") && file.has("barcodes") ? "features" : "embeddings";
  if (!file.has(data))
    fail(Exit::data, "{}: found {}, expected a dataset 'embeddings'", path, file.names().empty() ? "nothing" : listed(file.names()));
  int64_t rows = 0, dim = 0, places = 0, axes = 0;
  std::vector<float> values = file.matrix<float>(data, rows, dim);
  std::vector<std::string> barcodes = file.strings(file.has("barcodes") || !file.has("barcode") ? "barcodes" : "barcode");
  if (int64_t(barcodes.size()) != rows)
    fail(Exit::data, "{}: {} barcodes, expected {} as the rows of {}", path, barcodes.size(), rows, data);
  if (rows < 1 || dim < 1) fail(Exit::data, "{}: dataset '{}': {} x {} values, expected at least one", path, data, rows, dim);
  std::vector<double> coords;
  if (file.has("coords")) {
    coords = file.matrix<double>("coords", places, axes);
    if (places != rows || axes != 2) fail(Exit::data, "{}: dataset 'coords': {} x {} values, expected {} x 2", path, places, axes, rows);
  }
  std::string out;
  append(out, std::vector<int64_t>{dim});
  append(out, barcodes);
  append(out, values);
  append(out, coords);
  append(out, file.text("/", kFeatureOrigin).value_or(""));
  return out;
}

Origin read_origin(const std::string& text, const std::string& path) {
  if (text.empty()) return {};
  try {
    return parse_json(text, fmt::format("{}: attribute {}", path, kFeatureOrigin)).get<Origin>();
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, "{}: attribute {}: {}, expected an object of texts", path, kFeatureOrigin, shown(text));
  }
}

}  // namespace

Embeddings load_embeddings(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] { return read_file(path); });
  Answer rest(answer, path);
  Embeddings e;
  e.dim = rest.one<int64_t>();
  e.barcodes = rest.texts();
  e.values = rest.take<float>();
  e.coords = rest.take<double>();
  e.origin = read_origin(rest.text(), path);
  return e;
}

void read_embeddings(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string& path = s.source.embeddings;
  Embeddings e = load_embeddings(path);
  std::unordered_map<std::string, int64_t> row_of;
  for (size_t i = 0; i < e.barcodes.size(); i++)
    if (!row_of.emplace(e.barcodes[i], int64_t(i)).second)
      fail(Exit::data, "{}: barcodes: {} in row {} a second time, expected each once", path, shown(e.barcodes[i]), i);

  std::vector<int64_t> rows, from;
  int64_t both = 0, nonfinite = 0, zero = 0;
  for (int64_t n = 0; n < s.size(); n++) {
    auto it = row_of.find(s.spots[size_t(n)]);
    if (it == row_of.end()) continue;
    both++;
    const float* x = e.values.data() + it->second * e.dim;
    const float* bad = std::find_if(x, x + e.dim, [](float v) { return !std::isfinite(v); });
    if (bad != x + e.dim) {
      nonfinite++;
      if (options.drop_nonfinite) continue;
      fail(Exit::data,
           "{}: embeddings: row {} (spot {}), column {} is {}, expected a finite number; --drop-nonfinite leaves such spots out", path,
           it->second, shown(s.spots[size_t(n)]), bad - x, *bad);
    }
    zero += std::all_of(x, x + e.dim, [](float v) { return v == 0; });
    rows.push_back(n), from.push_back(it->second);
  }
  auto left = s.size(), right = int64_t(e.barcodes.size());
  std::string joined = fmt::format("{} spots only in the counts, {} only in the embeddings, {} in both", left - both, right - both, both);
  if (2 * both < std::min(left, right)) fail(Exit::data, "{}: {}, expected at least half to match", path, joined);
  if (rows.empty()) fail(Exit::data, "{}: no spot with finite features ({}), expected at least one", path, joined);
  s.leave_unmatched(left, right, both, joined, warnings);
  if (nonfinite > 0)
    warnings.push_back(fmt::format("{}: {} spots with NaN or Inf features are left out (--drop-nonfinite)", s.sample(), nonfinite));
  if (zero > 0) warnings.push_back(fmt::format("{}: {} spots have features that are all zero", s.sample(), zero));

  s.feature_dim = 0;
  s.keep(rows);
  s.feature_dim = e.dim;
  s.origin = std::move(e.origin);
  s.features.resize(rows.size() * size_t(e.dim));
  for (size_t i = 0; i < rows.size(); i++) std::copy_n(e.values.begin() + from[i] * e.dim, e.dim, s.features.begin() + int64_t(i) * e.dim);
}

}  // namespace stflow
