// Text tables (TSV and CSV): a header row, then rows of as many cells.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/lines.h"
#include "engine/error.h"

namespace stflow {

/// Reads `bytes` (plain or gzip) row by row. Throws Exit::data with line and column for a row with more or fewer cells than the
/// header, a quoted cell and a NUL byte. Empty lines at the end are ignored.
class Table {
 public:
  /// Reads the header at once.
  Table(std::string_view bytes, const std::string& name, char separator);
  /// Of a file without a header: these are the columns' names.
  Table(std::string_view bytes, const std::string& name, char separator, std::vector<std::string> header)
      : lines_(bytes, name), separator_(separator), header_(std::move(header)) {}

  [[nodiscard]] const std::vector<std::string>& header() const { return header_; }
  /// The column of that name, or -1.
  [[nodiscard]] int find(std::string_view column) const;
  /// The column of that name; throws Exit::data with the nearest name if there is none.
  [[nodiscard]] size_t column(std::string_view name) const;

  /// Reads the next row; false at the end.
  bool next();
  [[nodiscard]] std::string_view cell(size_t column) const { return cells_[column]; }
  [[nodiscard]] const std::string& name() const { return lines_.name(); }
  [[nodiscard]] int64_t line() const { return lines_.number(); }
  /// The cell as a number ("nan" and "inf" are numbers); throws Exit::data if it is none.
  [[nodiscard]] double number(size_t column) const;
  /// The cell as a whole number; throws Exit::data if it is none.
  [[nodiscard]] int64_t integer(size_t column) const;
  /// Throws Exit::data "<file>: line <n>, column <c> (<name>): <found>, expected ...".
  [[noreturn]] void refuse(size_t column, const std::string& found) const;

 private:
  void split(std::string_view line);

  Lines lines_;
  char separator_;
  std::vector<std::string> header_;
  std::vector<std::string_view> cells_;
};

}  // namespace stflow
