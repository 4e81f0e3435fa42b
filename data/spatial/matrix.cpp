#include "data/spatial/matrix.h"

#include <algorithm>
#include <limits>

namespace stflow {
namespace {

/// The datasets as they lie: `outer` rows (or columns) of values with indices below `inner`.
struct Compressed {
  std::vector<int64_t> start;
  std::vector<int32_t> index;
  std::vector<float> value;
};

Compressed read_parts(const Hdf5File& file, const std::string& path, const std::string& group, int64_t outer, int64_t inner,
                      const char* what) {
  auto vector = [&]<class T>(const char* name, std::vector<T>& values) {
    std::vector<int64_t> dims;
    values = file.array<T>(group + "/" + name, dims);
    if (dims.size() != 1) fail(Exit::data, "{}: dataset '{}/{}': {} dimensions, expected 1", path, group, name, dims.size());
  };
  Compressed c;
  vector("indptr", c.start);
  auto refuse = [&](const char* name, const std::string& found) { fail(Exit::data, "{}: dataset '{}/{}': {}", path, group, name, found); };
  if (int64_t(c.start.size()) != outer + 1)
    refuse("indptr", fmt::format("{} values, expected {} as there are {} {}s", c.start.size(), outer + 1, outer, what));
  if (c.start[0] != 0) refuse("indptr", fmt::format("{} at {} 0, expected 0", c.start[0], what));
  for (size_t i = 1; i < c.start.size(); i++)
    if (c.start[i] < c.start[i - 1])
      refuse("indptr", fmt::format("{} after {} at {} {}, expected rising values", c.start[i], c.start[i - 1], what, i - 1));
  vector("indices", c.index);
  if (c.start.back() != int64_t(c.index.size()))
    refuse("indptr", fmt::format("{} at the end, expected {} as there are indices", c.start.back(), c.index.size()));
  vector("data", c.value);
  if (c.value.size() != c.index.size())
    refuse("data", fmt::format("{} values, expected {} as there are indices", c.value.size(), c.index.size()));
  for (size_t o = 0; o + 1 < c.start.size(); o++)
    for (auto i = size_t(c.start[o]); i < size_t(c.start[o + 1]); i++)
      if (c.index[i] < 0 || c.index[i] >= inner)
        refuse("indices", fmt::format("{} in {} {}, expected 0 to {}", c.index[i], what, o, inner - 1));
  return c;
}

}  // namespace

Matrix read_compressed(const Hdf5File& file, const std::string& path, const std::string& group, int64_t rows, int64_t columns,
                       bool by_rows) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (rows < 0 || columns < 0 || rows > kMost || columns > kMost)
    fail(Exit::data, "{}: '{}': {} x {} values, expected fewer", path, group, rows, columns);
  Compressed c = read_parts(file, path, group, by_rows ? rows : columns, by_rows ? columns : rows, by_rows ? "row" : "column");
  if (!by_rows) {  // turned, which also sorts
    Compressed t;
    t.start.assign(size_t(rows) + 1, 0);
    for (const int32_t r : c.index) t.start[size_t(r) + 1]++;
    for (size_t r = 1; r < t.start.size(); r++) t.start[r] += t.start[r - 1];
    std::vector<int64_t> next(t.start.begin(), t.start.end() - 1);
    t.index.resize(c.index.size()), t.value.resize(c.value.size());
    for (size_t column = 0; column + 1 < c.start.size(); column++)
      for (auto i = size_t(c.start[column]); i < size_t(c.start[column + 1]); i++) {
        const auto to = size_t(next[size_t(c.index[i])]++);
        t.index[to] = int32_t(column), t.value[to] = c.value[i];
      }
    c = std::move(t);
  }
  Matrix m;
  m.columns = columns;
  m.rows.column.reserve(c.index.size()), m.rows.value.reserve(c.value.size()), m.rows.start.reserve(c.start.size());
  std::vector<std::pair<int32_t, float>> row;
  for (size_t r = 0; r + 1 < c.start.size(); r++) {
    row.clear();
    for (auto i = size_t(c.start[r]); i < size_t(c.start[r + 1]); i++) row.emplace_back(c.index[i], c.value[i]);
    m.twice += m.rows.add_row(row);
  }
  return m;
}

Matrix read_dense(const Hdf5File& file, const std::string& name) {
  constexpr int64_t kPiece = int64_t(1) << 23;  // values held at once
  const std::vector<int64_t> shape = file.shape(name);
  Matrix m;
  m.columns = shape.size() == 2 ? shape[1] : 1;
  const int64_t step = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, m.columns));
  for (int64_t first = 0; first < shape[0]; first += step) {
    const int64_t count = std::min(step, shape[0] - first);
    const std::vector<float> values = file.rows<float>(name, first, count);
    const auto width = values.size() / size_t(count);
    for (size_t r = 0; r < size_t(count); r++) m.rows.add_row(std::span(values).subspan(r * width, width));
  }
  return m;
}

void append(std::string& answer, const Matrix& m) {
  append(answer, std::vector<int64_t>{m.columns, m.twice});
  append(answer, m.rows.start), append(answer, m.rows.column), append(answer, m.rows.value);
}

Matrix take_matrix(Answer& answer) {
  Matrix m;
  const auto sizes = answer.take<int64_t>();
  check(sizes.size() == 2, "{} sizes of a matrix in an answer", sizes.size());
  m.columns = sizes[0], m.twice = sizes[1];
  m.rows.start = answer.take<int64_t>(), m.rows.column = answer.take<int32_t>(), m.rows.value = answer.take<float>();
  return m;
}

}  // namespace stflow
