// Included by data/hdf5_*.cpp only: an identifier of the HDF5 library that closes itself.
#pragma once
#include <hdf5.h>

namespace stflow {

struct Hdf5Id {
  hid_t id;
  herr_t (*close)(hid_t);
  Hdf5Id(hid_t i, herr_t (*c)(hid_t)) : id(i), close(c) {}
  Hdf5Id(Hdf5Id&& o) noexcept : id(o.id), close(o.close) { o.id = -1; }
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  ~Hdf5Id() {
    if (id >= 0) close(id);
  }
  operator hid_t() const { return id; }
};

}  // namespace stflow
