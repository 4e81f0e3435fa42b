// obs and var of an h5ad file: tables with a name per row, in all of anndata's encodings. Used inside a child process.
#pragma once
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace stflow {

/// A column: numbers, or texts (strings and categories). What is missing is NaN or "".
struct Column {
  std::vector<double> numbers;
  std::vector<std::string> texts;
  [[nodiscard]] bool is_text() const { return !texts.empty(); }
  [[nodiscard]] size_t size() const { return is_text() ? texts.size() : numbers.size(); }
};

class Frame {
 public:
  /// `name`: "obs" or "var". A group with an index (anndata 0.7 and later: categories as groups, or in __categories beside the columns), or
  /// a dataset of records (older: categories in uns). Throws Exit::data if it is neither, or says an encoding that is not known.
  Frame(const Hdf5File& file, const std::string& path, const std::string& name);

  /// A name per row; throws Exit::data for an index that is no text.
  [[nodiscard]] std::vector<std::string> index() const;
  [[nodiscard]] bool has(const std::string& column) const;
  [[nodiscard]] Column column(const std::string& column) const;
  /// Names of all columns, without the index.
  [[nodiscard]] std::vector<std::string> columns() const;

 private:
  [[nodiscard]] Column group_column(const std::string& at) const;
  [[nodiscard]] Column categories(const std::vector<double>& codes, const std::string& names, const std::string& at) const;

  const Hdf5File& file_;
  std::string path_, name_;
  bool records_ = false;
  std::string index_;
};

/// The encoding that an object says, "" if it says none. Throws Exit::data for one that is not among `known` (names, each with the newest
/// version that is understood), or is newer.
struct Encoding {
  const char* name;
  double newest;
};
std::string encoding_of(const Hdf5File& file, const std::string& path, const std::string& object, const std::vector<Encoding>& known);

}  // namespace stflow
