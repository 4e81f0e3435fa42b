// What an HDF5 file shows to a reader in a child, as text.
#pragma once
#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace stflow::test {

inline std::string seen(const std::string& path, const std::function<std::string(const Hdf5File&)>& look) {
  return read_hdf5(path, [&] { return look(Hdf5File(path)); });
}

template <class T> std::string list(const std::vector<T>& values) {
  std::string s;
  for (const T& v : values) s += fmt::format("{} ", v);
  return s;
}

}  // namespace stflow::test
