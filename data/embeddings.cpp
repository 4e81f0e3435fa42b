#include "data/embeddings.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "data/child.h"
#include "data/hdf5_file.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

// The child's answer: numbers as they lie in memory, each array after its length.
template <class T> void append(std::string& out, const std::vector<T>& values) {
  auto n = uint64_t(values.size());
  out.append(reinterpret_cast<const char*>(&n), sizeof n);
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <class T> std::vector<T> take(std::string_view& in, const std::string& path) {
  uint64_t n = 0;
  if (in.size() >= sizeof n) std::memcpy(&n, in.data(), sizeof n);
  if (in.size() < sizeof n || n > (in.size() - sizeof n) / sizeof(T))
    fail(Exit::data, "{}: the reader's answer is cut short, expected a readable HDF5 file", path);
  std::vector<T> values(n);
  if (n > 0) std::memcpy(values.data(), in.data() + sizeof n, n * sizeof(T));
  in.remove_prefix(sizeof n + n * sizeof(T));
  return values;
}

std::string read_file(const std::string& path) {
  Hdf5File file(path);
  if (!file.has("embeddings"))
    fail(Exit::data, "{}: found {}, expected a dataset 'embeddings'", path, file.names().empty() ? "nothing" : listed(file.names()));
  int64_t rows = 0, dim = 0, places = 0, axes = 0;
  std::vector<float> values = file.matrix<float>("embeddings", rows, dim);
  std::vector<std::string> barcodes = file.strings(file.has("barcodes") || !file.has("barcode") ? "barcodes" : "barcode");
  if (int64_t(barcodes.size()) != rows)
    fail(Exit::data, "{}: {} barcodes, expected {} as the rows of embeddings", path, barcodes.size(), rows);
  if (rows < 1 || dim < 1) fail(Exit::data, "{}: dataset 'embeddings': {} x {} values, expected at least one", path, rows, dim);
  std::vector<double> coords;
  if (file.has("coords")) {
    coords = file.matrix<double>("coords", places, axes);
    if (places != rows || axes != 2) fail(Exit::data, "{}: dataset 'coords': {} x {} values, expected {} x 2", path, places, axes, rows);
  }
  std::string names;
  for (const auto& b : barcodes) names += b + '\n';
  std::string out;
  append(out, std::vector<int64_t>{rows, dim});
  append(out, std::vector<char>(names.begin(), names.end()));
  append(out, values);
  append(out, coords);
  return out;
}

}  // namespace

Embeddings load_embeddings(const std::string& path, const ChildLimits& limits) {
  {
    FileView file(path);
    std::string_view what = sniff(file.text().substr(0, 512));
    if (what != "an HDF5 file") fail(Exit::data, "{}: is {}, expected an HDF5 file", path, what.empty() ? "of an unknown format" : what);
  }
  std::string answer = in_child_process(path, "HDF5", limits, [&] { return read_file(path); });
  std::string_view rest = answer;
  Embeddings e;
  auto size = take<int64_t>(rest, path);
  auto names = take<char>(rest, path);
  e.values = take<float>(rest, path);
  e.coords = take<double>(rest, path);
  for (auto begin = names.begin(); begin != names.end();) {
    auto end = std::find(begin, names.end(), '\n');
    e.barcodes.emplace_back(begin, end);
    begin = end == names.end() ? end : end + 1;
  }
  check(size.size() == 2 && int64_t(e.barcodes.size()) == size[0] && int64_t(e.values.size()) == size[0] * size[1],
        "{}: a barcode with a line break", path);
  e.dim = size[1];
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
  s.features.resize(rows.size() * size_t(e.dim));
  for (size_t i = 0; i < rows.size(); i++) std::copy_n(e.values.begin() + from[i] * e.dim, e.dim, s.features.begin() + int64_t(i) * e.dim);
}

}  // namespace stflow
