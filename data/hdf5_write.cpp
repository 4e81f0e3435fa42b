#include "data/hdf5_write.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "data/child.h"
#include "data/hdf5_id.h"
#include "engine/error.h"
#include "engine/file.h"

namespace stflow {
namespace {

template <class T> hid_t memory_type() {
  if constexpr (std::is_same_v<T, float>) return H5T_NATIVE_FLOAT;
  else if constexpr (std::is_same_v<T, double>) return H5T_NATIVE_DOUBLE;
  else if constexpr (std::is_same_v<T, int64_t>) return H5T_NATIVE_INT64;
  else return H5T_NATIVE_UINT8;
}
template <class T> hid_t file_type() {
  if constexpr (std::is_same_v<T, float>) return H5T_IEEE_F32LE;
  else if constexpr (std::is_same_v<T, double>) return H5T_IEEE_F64LE;
  else if constexpr (std::is_same_v<T, int64_t>) return H5T_STD_I64LE;
  else return H5T_STD_U8LE;
}

Hdf5Id string_type(size_t length) {
  Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, length);
  H5Tset_cset(type, H5T_CSET_UTF8);
  if (length != H5T_VARIABLE) H5Tset_strpad(type, H5T_STR_NULLPAD);
  return type;
}

std::vector<const char*> pointers_to(const std::vector<std::string>& values) {
  std::vector<const char*> all;
  for (const std::string& v : values) all.push_back(v.c_str());
  return all;
}

/// The bytes of the strings side by side, each padded to `length`.
std::string side_by_side(const std::vector<std::string>& values, size_t length) {
  std::string all;
  for (const std::string& v : values) all.append(v).append(length - v.size(), '\0');
  return all;
}

}  // namespace

/// Everything between opening and commit. Each call into the library holds fork_lock(): a child that reads HDF5 must not start from the
/// middle of one.
struct Hdf5Writer::Open {
  std::string path;
  FileWriter output;  // makes and locks path.partial, which the library writes
  std::optional<Hdf5Id> file;
  std::map<std::string, Hdf5Id> datasets;

  explicit Open(const std::string& p) : path(p), output(p) {
    const std::lock_guard<std::mutex> hold(fork_lock());
    H5dont_atexit();  // a file that could not be written is not tried again at the end of the process
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_file_locking(access, false, true);  // `output` holds the lock
    errno = 0;
    file.emplace(H5Fcreate((path + ".partial").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
    if (*file < 0) fail(Exit::create, "{}: {}, expected a place to write", path, std::strerror(errno));
  }
  ~Open() {
    const std::lock_guard<std::mutex> hold(fork_lock());
    datasets.clear();
    file.reset();
  }

  void must(bool done, const std::string& name) const {
    if (done) return;
    const int error = errno;
    struct statvfs s {};
    const uint64_t available = ::statvfs(folder_of(path).c_str(), &s) == 0 ? uint64_t(s.f_bavail) * s.f_frsize : 0;
    fail(Exit::io, "{}: writing '{}': {}, {} bytes free", path, name, error != 0 ? std::strerror(error) : "refused by HDF5", available);
  }

  Hdf5Id& create(const std::string& name, const std::vector<int64_t>& shape, hid_t type, const Hdf5Storage& storage) {
    check(!datasets.contains(name), "{}: dataset '{}' declared twice", path, name);
    const std::vector<hsize_t> dims(shape.begin(), shape.end());
    std::vector<hsize_t> most = dims;
    const Hdf5Id plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_obj_track_times(plist, false);  // the same content is the same bytes
    if (storage.growing || storage.chunk > 0 || storage.gzip > 0) {
      check(!shape.empty(), "{}: scalar '{}' in chunks", path, name);
      std::vector<hsize_t> chunk = dims;
      hsize_t row = H5Tget_size(type);
      for (size_t i = 1; i < chunk.size(); i++) row *= chunk[i] = std::max<hsize_t>(chunk[i], 1);
      const hsize_t rows = std::clamp<hsize_t>(storage.chunk > 0 ? hsize_t(storage.chunk) : 65536 / row, 1, std::max<hsize_t>(dims[0], 1));
      chunk[0] = rows;
      if (storage.growing) most[0] = H5S_UNLIMITED;
      H5Pset_chunk(plist, int(chunk.size()), chunk.data());
      if (storage.gzip > 0) H5Pset_deflate(plist, unsigned(storage.gzip));
    }
    const Hdf5Id space(dims.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(int(dims.size()), dims.data(), most.data()), H5Sclose);
    errno = 0;
    Hdf5Id data(H5Dcreate2(*file, name.c_str(), type, space, H5P_DEFAULT, plist, H5P_DEFAULT), H5Dclose);
    must(data >= 0, name);
    return datasets.emplace(name, std::move(data)).first->second;
  }

  void put(const std::string& name, const Hdf5Id& data, hid_t type, const void* values) const {
    errno = 0;
    must(H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0, name);
  }

  void attribute(const std::string& object, const std::string& key, hid_t type, hid_t stored, const std::vector<hsize_t>& dims,
                 const void* values) const {
    const std::lock_guard<std::mutex> hold(fork_lock());
    const Hdf5Id on(H5Oopen(*file, object.c_str(), H5P_DEFAULT), H5Oclose);
    check(on >= 0, "{}: attribute '{}' of '{}', which is not there", path, key, object);
    const Hdf5Id space(dims.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(int(dims.size()), dims.data(), nullptr), H5Sclose);
    errno = 0;
    const Hdf5Id made(H5Acreate2(on, key.c_str(), stored, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    must(made >= 0 && ((!dims.empty() && dims[0] == 0) || H5Awrite(made, type, values) >= 0), object + "@" + key);
  }
};

Hdf5Writer::Hdf5Writer(const std::string& path) : open_(std::make_unique<Open>(path)) {}
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::group(const std::string& name) {
  const std::lock_guard<std::mutex> hold(fork_lock());
  errno = 0;
  const Hdf5Id made(H5Gcreate2(*open_->file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  open_->must(made >= 0, name);
}

template <class T> void Hdf5Writer::declare(const std::string& name, const std::vector<int64_t>& shape, const Hdf5Storage& storage) {
  const std::lock_guard<std::mutex> hold(fork_lock());
  open_->create(name, shape, file_type<T>(), storage);
}

template <class T> void Hdf5Writer::rows(const std::string& name, int64_t first, int64_t count, const T* values) {
  if (count == 0) return;
  const std::lock_guard<std::mutex> hold(fork_lock());
  const Hdf5Id& data = open_->datasets.at(name);
  const Hdf5Id space(H5Dget_space(data), H5Sclose);
  std::vector<hsize_t> dims(size_t(H5Sget_simple_extent_ndims(space))), start(dims.size(), 0);
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  check(!dims.empty() && first >= 0 && first + count <= int64_t(dims[0]), "{}: rows {} + {} of '{}'", open_->path, first, count, name);
  start[0] = hsize_t(first), dims[0] = hsize_t(count);
  const Hdf5Id memory(H5Screate_simple(int(dims.size()), dims.data(), nullptr), H5Sclose);
  errno = 0;
  open_->must(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, dims.data(), nullptr) >= 0 &&
                  H5Dwrite(data, memory_type<T>(), memory, space, H5P_DEFAULT, values) >= 0,
              name);
}

template <class T>
void Hdf5Writer::numbers(const std::string& name, const std::vector<int64_t>& shape, const T* values, const Hdf5Storage& storage) {
  const std::lock_guard<std::mutex> hold(fork_lock());
  const Hdf5Id& data = open_->create(name, shape, file_type<T>(), storage);
  if (std::find(shape.begin(), shape.end(), 0) == shape.end()) open_->put(name, data, memory_type<T>(), values);
}

#define STFLOW_HDF5_TYPE(T)                                                                                  \
  template void Hdf5Writer::declare<T>(const std::string&, const std::vector<int64_t>&, const Hdf5Storage&); \
  template void Hdf5Writer::rows<T>(const std::string&, int64_t, int64_t, const T*);                         \
  template void Hdf5Writer::numbers<T>(const std::string&, const std::vector<int64_t>&, const T*, const Hdf5Storage&);
STFLOW_HDF5_TYPE(float)
STFLOW_HDF5_TYPE(double)
STFLOW_HDF5_TYPE(int64_t)
STFLOW_HDF5_TYPE(uint8_t)
#undef STFLOW_HDF5_TYPE

void Hdf5Writer::strings(const std::string& name, const std::vector<int64_t>& shape, const std::vector<std::string>& values,
                         const Hdf5Storage& storage, bool fixed_length) {
  const std::lock_guard<std::mutex> hold(fork_lock());
  size_t length = 1;
  for (const std::string& v : values) length = std::max(length, v.size());
  const Hdf5Id type = string_type(fixed_length ? length : H5T_VARIABLE);
  const Hdf5Id& data = open_->create(name, shape, type, storage);
  if (values.empty()) return;
  if (fixed_length) open_->put(name, data, type, side_by_side(values, length).data());
  else open_->put(name, data, type, pointers_to(values).data());
}

void Hdf5Writer::link(const std::string& there, const std::string& name) {
  const std::lock_guard<std::mutex> hold(fork_lock());
  errno = 0;
  const hid_t file = *open_->file;
  open_->must(H5Lcreate_hard(file, there.c_str(), file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT) >= 0, name);
}

void Hdf5Writer::attribute(const std::string& object, const std::string& key, std::string_view text) {
  const std::string whole(text);
  const char* pointer = whole.c_str();
  const Hdf5Id type = string_type(H5T_VARIABLE);
  open_->attribute(object, key, type, type, {}, &pointer);
}
void Hdf5Writer::attribute(const std::string& object, const std::string& key, double number) {
  open_->attribute(object, key, H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE, {}, &number);
}
void Hdf5Writer::attribute(const std::string& object, const std::string& key, int64_t number) {
  open_->attribute(object, key, H5T_NATIVE_INT64, H5T_STD_I64LE, {}, &number);
}
void Hdf5Writer::attribute(const std::string& object, const std::string& key, const std::vector<int64_t>& numbers) {
  open_->attribute(object, key, H5T_NATIVE_INT64, H5T_STD_I64LE, {numbers.size()}, numbers.data());
}
void Hdf5Writer::attribute(const std::string& object, const std::string& key, const std::vector<std::string>& texts) {
  const Hdf5Id type = string_type(H5T_VARIABLE);
  open_->attribute(object, key, type, type, {texts.size()}, pointers_to(texts).data());
}

void Hdf5Writer::commit() {
  {
    const std::lock_guard<std::mutex> hold(fork_lock());
    errno = 0;
    open_->datasets.clear();
    open_->must(H5Fflush(*open_->file, H5F_SCOPE_LOCAL) >= 0, "the end");
    const hid_t id = std::exchange(open_->file->id, -1);
    open_->must(H5Fclose(id) >= 0, "the end");
  }
  open_->output.commit();
}

}  // namespace stflow
