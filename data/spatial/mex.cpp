#include "data/spatial/mex.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>

#include "data/lines.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

/// Words between spaces and tabs; more than `most` count as most + 1.
template <size_t most> size_t words(std::string_view line, std::array<std::string_view, most>& out) {
  size_t n = 0;
  for (size_t at = 0;;) {
    at = line.find_first_not_of(" \t", at);
    if (at == std::string_view::npos) return n;
    const size_t end = std::min(line.find_first_of(" \t", at), line.size());
    if (n == most) return most + 1;
    out[n++] = line.substr(at, end - at);
    at = end;
  }
}

std::string file_in(const std::string& folder, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const fs::path p = fs::path(folder) / name; fs::is_regular_file(p)) return p.string();
  fail(Exit::missing, "{}: no {}, expected one", folder, *names.begin());
}

}  // namespace

Matrix read_mtx(std::string_view bytes, const std::string& name, int64_t genes, int64_t spots) {
  Lines lines(bytes, name);
  std::string_view line;
  auto refuse = [&](const std::string& found) { fail(Exit::data, "{}: line {}: {}", name, lines.number(), found); };
  if (!lines.next(line) || !line.starts_with("%%MatrixMarket"))
    fail(Exit::data, "{}: line 1: no %%MatrixMarket header, expected a MatrixMarket file", name);
  std::array<std::string_view, 5> kind;
  if (words(line, kind) != 5 || kind[1] != "matrix" || kind[2] != "coordinate" || (kind[3] != "integer" && kind[3] != "real") ||
      kind[4] != "general")
    refuse(shown(line) + ", expected matrix coordinate integer (or real) general");
  std::array<std::string_view, 3> w;
  auto number = [&](std::string_view word, int64_t least, int64_t most) {
    const auto n = parse_integer(word);
    if (!n || *n < least || *n > most) refuse(fmt::format("{}, expected a whole number from {} to {}", shown(word), least, most));
    return *n;
  };
  do {
    if (!lines.next(line)) refuse("the end of the file, expected the matrix's size");
  } while (line.starts_with('%'));
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (words(line, w) != 3) refuse(shown(line) + ", expected rows, columns and values");
  const int64_t rows = number(w[0], 0, kMost), columns = number(w[1], 0, kMost), all = number(w[2], 0, int64_t(1) << 40);
  if (rows != genes || columns != spots)
    refuse(fmt::format("{} x {} values, expected {} features x {} barcodes as in the lists beside it", rows, columns, genes, spots));

  std::vector<int32_t> gene, spot;
  std::vector<float> value;
  while (lines.next(line)) {
    if (line.empty()) continue;
    if (words(line, w) != 3) refuse(shown(line) + ", expected a row, a column and a value");
    if (int64_t(value.size()) == all) refuse(fmt::format("more values, expected {}", all));
    gene.push_back(int32_t(number(w[0], 1, genes) - 1)), spot.push_back(int32_t(number(w[1], 1, spots) - 1));
    const auto x = parse_number(w[2]);
    if (!x) refuse(shown(w[2]) + ", expected a number");
    value.push_back(float(*x));
  }
  if (int64_t(value.size()) != all) refuse(fmt::format("{} values at the end of the file, expected {}: truncated?", value.size(), all));
  std::vector<size_t> order(value.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  if (!std::is_sorted(spot.begin(), spot.end()))
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return spot[a] < spot[b]; });
  Matrix m;
  m.columns = genes;
  std::vector<std::pair<int32_t, float>> row;
  for (size_t i = 0; i < order.size();) {
    const int32_t s = spot[order[i]];
    while (m.rows.rows() < s) m.rows.add_row(std::span<const float>{});
    row.clear();
    for (; i < order.size() && spot[order[i]] == s; i++) row.emplace_back(gene[order[i]], value[order[i]]);
    m.twice += m.rows.add_row(row);
  }
  while (m.rows.rows() < spots) m.rows.add_row(std::span<const float>{});
  return m;
}

std::vector<std::vector<std::string>> read_list(std::string_view bytes, const std::string& name, size_t most_columns) {
  Lines lines(bytes, name);
  std::string_view line;
  std::vector<std::vector<std::string>> columns;
  while (lines.next(line)) {
    std::vector<std::string> cells;
    for (size_t at = 0;;) {
      const size_t end = std::min(line.find('\t', at), line.size());
      cells.emplace_back(line.substr(at, end - at));
      if (end == line.size()) break;
      at = end + 1;
    }
    if (columns.empty()) columns.resize(std::min(cells.size(), most_columns));
    if (cells.size() < columns.size() || cells[0].empty())
      fail(Exit::data, "{}: line {}: {}, expected {} columns as in the first line", name, lines.number(), shown(line), columns.size());
    for (size_t i = 0; i < columns.size(); i++) columns[i].push_back(std::move(cells[i]));
  }
  if (columns.empty()) fail(Exit::data, "{}: empty, expected a list", name);
  return columns;
}

FoundCounts read_mex(const std::string& folder) {
  const std::string matrix = file_in(folder, {"matrix.mtx.gz", "matrix.mtx"}),
                    features = file_in(folder, {"features.tsv.gz", "features.tsv", "genes.tsv", "genes.tsv.gz"}),
                    barcodes = file_in(folder, {"barcodes.tsv.gz", "barcodes.tsv"});
  FoundCounts c;
  c.path = matrix, c.name = "matrix.mtx";
  auto columns = read_list(FileView(features).text(), features, 3);
  c.ids = std::move(columns[0]);
  c.symbols = columns.size() > 1 ? std::move(columns[1]) : c.ids;
  if (columns.size() > 2) c.kind = std::move(columns[2]);
  c.spots = std::move(read_list(FileView(barcodes).text(), barcodes, 1)[0]);
  c.matrix = read_mtx(FileView(matrix).text(), matrix, int64_t(c.ids.size()), int64_t(c.spots.size()));
  return c;
}

}  // namespace stflow
