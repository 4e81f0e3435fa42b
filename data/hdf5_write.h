// HDF5 out: groups, datasets of numbers and strings, attributes. What we write ourselves is not hostile, so this needs no child process.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace stflow {

/// How a dataset lies in the file.
struct Hdf5Storage {
  bool growing = false;  // readers may append along the first axis
  int64_t chunk = 0;     // rows that are stored together; 0: about 64 KB of them where chunks are needed, else one piece
  int gzip = 0;          // level 1 to 9; 0: not compressed
};

/// A file that appears whole or not at all (FileWriter): written beside its name, flushed and renamed by commit(), removed without.
/// Names are paths ("obs", "uns/stflow/seed"); a group comes before what is in it. The same calls give the same bytes.
/// Throws Exit::create as FileWriter does, Exit::io where the disk refuses. T is float, double, int64_t or uint8_t.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::string& path);
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  ~Hdf5Writer();

  void group(const std::string& name);
  /// A dataset of zeros, to be filled by rows(); {} is a scalar.
  template <class T> void declare(const std::string& name, const std::vector<int64_t>& shape, const Hdf5Storage& storage = {});
  /// Rows [first, first + count) of a declared dataset.
  template <class T> void rows(const std::string& name, int64_t first, int64_t count, const T* values);
  /// Both: shape's product of values.
  template <class T>
  void numbers(const std::string& name, const std::vector<int64_t>& shape, const T* values, const Hdf5Storage& storage = {});
  /// UTF-8, of variable length, or of the longest one's length, padded with NUL.
  void strings(const std::string& name, const std::vector<int64_t>& shape, const std::vector<std::string>& values,
               const Hdf5Storage& storage = {}, bool fixed_length = false);

  /// A second name for what is there: the bytes are stored once.
  void link(const std::string& there, const std::string& name);

  /// Of a group or dataset; "/" is the file's root. Text is UTF-8 of variable length; a list may be empty.
  void attribute(const std::string& object, const std::string& key, std::string_view text);
  void attribute(const std::string& object, const std::string& key, double number);
  void attribute(const std::string& object, const std::string& key, int64_t number);
  void attribute(const std::string& object, const std::string& key, const std::vector<int64_t>& numbers);
  void attribute(const std::string& object, const std::string& key, const std::vector<std::string>& texts);

  /// The file is there, whole.
  void commit();

 private:
  struct Open;
  std::unique_ptr<Open> open_;
};

}  // namespace stflow
