// The little of HDF5 that stflow reads. Used only inside in_child_process(): libhdf5 is not safe on hostile files.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "data/child.h"

namespace stflow {

/// An open file. Every failure throws Exit::data "<file>: dataset '<name>': <found>, expected ...".
class Hdf5File {
 public:
  /// Turns plug-ins off and opens the file for reading.
  explicit Hdf5File(const std::string& path);
  Hdf5File(const Hdf5File&) = delete;
  Hdf5File& operator=(const Hdf5File&) = delete;
  ~Hdf5File();

  /// Names in the root group, at most 20 of them.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool has(const std::string& name) const { return kind(name) != Kind::none; }
  enum class Kind { none, group, dataset };
  /// Names are paths. Throws for a link to elsewhere anywhere in the path.
  [[nodiscard]] Kind kind(const std::string& name) const;
  /// Names in a group, in order; throws for more than 100,000.
  [[nodiscard]] std::vector<std::string> members(const std::string& group) const;
  /// A numeric dataset of rank 1 or 2 as double or float; rank 1 gives one column.
  template <class T> std::vector<T> matrix(const std::string& name, int64_t& rows, int64_t& columns) const;
  /// A numeric dataset (booleans, too) of 0 to 4 dimensions; T is float, double, int32_t or int64_t. Whole numbers that T cannot hold
  /// become its largest or smallest.
  template <class T> std::vector<T> array(const std::string& name, std::vector<int64_t>& dims) const;
  /// Rows [first, first + count) of a numeric dataset.
  template <class T> std::vector<T> rows(const std::string& name, int64_t first, int64_t count) const;
  /// Whether it is a dataset of strings.
  [[nodiscard]] bool is_text(const std::string& name) const;
  /// Whether it is a dataset of unsigned bytes.
  [[nodiscard]] bool is_byte(const std::string& name) const;
  /// The fields of a dataset of records (a compound type), in order; none if it is another one.
  [[nodiscard]] std::vector<std::string> fields(const std::string& name) const;
  /// One field of a dataset of records: numbers or texts.
  [[nodiscard]] std::variant<std::vector<double>, std::vector<std::string>> field(const std::string& name, const std::string& field) const;
  /// A dataset of strings, (N) or (N, 1), fixed or variable length.
  [[nodiscard]] std::vector<std::string> strings(const std::string& name) const;
  /// Sizes of a numeric dataset of at most 4 dimensions.
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const;
  /// Rows [first, first + count) of a dataset of unsigned bytes, as they lie.
  [[nodiscard]] std::string bytes(const std::string& name, int64_t first, int64_t count) const;
  /// An attribute of a dataset, or of the root ("/"): a number, or the first of at most 16; a text of at most 64 KB. Empty if there is none
  /// of that kind.
  [[nodiscard]] std::optional<double> number(const std::string& object, const std::string& key) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& object, const std::string& key) const;
  /// All numbers of an attribute, at most 16; empty if there is none of that kind.
  [[nodiscard]] std::vector<double> numbers(const std::string& object, const std::string& key) const;

 private:
  std::string path_;
  int64_t file_ = -1;
};

/// Refuses what is no HDF5 file, then runs work() in a child process, plug-ins off, and returns its answer. libhdf5 runs in circles on some
/// damaged files, so the child has 4 s of processor time and one more for each MiB of the file (whole sections are read at 20 MiB/s and
/// more), and 4 GiB. Throws Exit::missing or Exit::data.
std::string read_hdf5(const std::string& path, const std::function<std::string()>& work);

}  // namespace stflow
