// The little of HDF5 that stflow reads. Used only inside in_child_process(): libhdf5 is not safe on hostile files.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

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
  [[nodiscard]] bool has(const std::string& name) const;
  /// A numeric dataset of rank 1 or 2 as double or float; rank 1 gives one column.
  template <class T> std::vector<T> matrix(const std::string& name, int64_t& rows, int64_t& columns) const;
  /// A dataset of strings, (N) or (N, 1), fixed or variable length.
  [[nodiscard]] std::vector<std::string> strings(const std::string& name) const;

 private:
  std::string path_;
  int64_t file_ = -1;
};

}  // namespace stflow
