#include "data/table.h"

#include <algorithm>

#include "engine/nearest.h"
#include "engine/text.h"

namespace stflow {

Table::Table(std::string_view bytes, const std::string& name, char separator) : lines_(bytes, name), separator_(separator) {
  std::string_view line;
  if (!lines_.next(line)) fail(Exit::data, "{}: line 1: no header, expected a table", name);
  split(line);
  header_.assign(cells_.begin(), cells_.end());
}

void Table::split(std::string_view line) {
  cells_.clear();
  for (size_t begin = 0;;) {
    size_t end = std::min(line.find(separator_, begin), line.size());
    cells_.push_back(line.substr(begin, end - begin));
    if (cells_.back().starts_with('"')) refuse(cells_.size() - 1, shown(cells_.back()) + ", expected a cell without quotes");
    if (end == line.size()) break;
    begin = end + 1;
  }
  if (line.find('\0') != std::string_view::npos)
    for (size_t i = 0; i < cells_.size(); i++)
      if (cells_[i].find('\0') != std::string_view::npos) refuse(i, "a NUL byte, expected text");
}

bool Table::next() {
  std::string_view line;
  if (!lines_.next(line)) return false;
  if (line.empty()) {
    int64_t first = lines_.number();
    while (lines_.next(line))
      if (!line.empty()) fail(Exit::data, "{}: line {}: empty, expected {} cells", lines_.name(), first, header_.size());
    return false;
  }
  split(line);
  if (cells_.size() != header_.size())
    refuse(std::min(cells_.size(), header_.size()), fmt::format("{} cells, expected {} as in the header", cells_.size(), header_.size()));
  return true;
}

int Table::find(std::string_view column) const {
  auto it = std::find(header_.begin(), header_.end(), column);
  return it == header_.end() ? -1 : int(it - header_.begin());
}

size_t Table::column(std::string_view name) const {
  int c = find(name);
  if (c < 0)
    fail(Exit::data, "{}: line 1: no column '{}', expected one; the nearest is {}", lines_.name(), name, shown(nearest(name, header_)));
  return size_t(c);
}

double Table::number(size_t column) const {
  std::string_view s = cell(column);
  auto x = parse_number(s);
  if (!x)
    refuse(column, shown(s) + (s.find(',') == std::string_view::npos ? ", expected a number" : ", expected a number with a decimal point"));
  return *x;
}

int64_t Table::integer(size_t column) const {
  auto x = parse_integer(cell(column));
  if (!x) refuse(column, shown(cell(column)) + ", expected a whole number");
  return *x;
}

void Table::refuse(size_t column, const std::string& found) const {
  std::string name = column < header_.size() && !header_[column].empty() ? fmt::format(" ({})", shown(header_[column], 40)) : "";
  fail(Exit::data, "{}: line {}, column {}{}: {}", lines_.name(), line(), column + 1, name, found);
}

}  // namespace stflow
