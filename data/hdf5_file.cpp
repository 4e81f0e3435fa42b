#include "data/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

/// An HDF5 identifier that closes itself.
struct Id {
  hid_t id;
  herr_t (*close)(hid_t);
  Id(hid_t i, herr_t (*c)(hid_t)) : id(i), close(c) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() {
    if (id >= 0) close(id);
  }
  operator hid_t() const { return id; }
};

/// A dataset that is stored in this very file, by filters that are built in.
struct Dataset {
  const std::string& file;
  const std::string& name;
  Id data, type, space;
  int64_t rows = 0, columns = 1;

  template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) const {
    fail(Exit::data, "{}: dataset '{}': {}", file, name, fmt::format(format, std::forward<A>(args)...));
  }

  Dataset(const std::string& path, hid_t f, const std::string& n)
      : file(path), name(n), data(open(f), H5Dclose), type(H5Dget_type(data), H5Tclose), space(H5Dget_space(data), H5Sclose) {
    Id plist(H5Dget_create_plist(data), H5Pclose);
    if (plist < 0 || type < 0 || space < 0) refuse("damaged, expected a readable dataset");
    H5D_layout_t layout = H5Pget_layout(plist);
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) refuse("virtual storage, expected data in this file");
    if (H5Pget_external_count(plist) != 0) refuse("external storage, expected data in this file");
    for (int i = 0, filters = H5Pget_nfilters(plist); i < filters; i++) {
      unsigned flags = 0;
      size_t none = 0;
      H5Z_filter_t filter = H5Pget_filter2(plist, unsigned(i), &flags, &none, nullptr, 0, nullptr, nullptr);
      if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
        refuse("filter {}, expected gzip, shuffle or fletcher32", filter);
    }
    hsize_t dims[2] = {0, 1};
    int rank = H5Sget_simple_extent_ndims(space);
    if (rank != 1 && rank != 2) refuse("{} dimensions, expected 1 or 2", rank);
    H5Sget_simple_extent_dims(space, dims, nullptr);
    constexpr hsize_t kMost = hsize_t(1) << 40;
    if (dims[0] > kMost || dims[1] > kMost || dims[0] * std::max<hsize_t>(dims[1], 1) > kMost)
      refuse("{} x {} values, expected fewer", dims[0], dims[1]);
    rows = int64_t(dims[0]), columns = int64_t(dims[1]);
    // deflate shrinks at most about 1,030 times: a larger claim is no whole file
    uint64_t claimed = uint64_t(rows) * uint64_t(columns) * H5Tget_size(type), stored = H5Dget_storage_size(data);
    if (claimed / 1100 > stored) refuse("{} bytes stored for {} x {} values, expected a whole dataset", stored, rows, columns);
  }

  hid_t open(hid_t f) const {
    H5L_info_t link{};
    if (H5Lget_info(f, name.c_str(), &link, H5P_DEFAULT) < 0) refuse("not there, expected one");
    if (link.type != H5L_TYPE_HARD) refuse("a link to elsewhere, expected data in this file");
    hid_t d = H5Dopen2(f, name.c_str(), H5P_DEFAULT);
    if (d < 0) refuse("damaged or a group, expected a dataset");
    return d;
  }
};

}  // namespace

Hdf5File::Hdf5File(const std::string& path) : path_(path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
  ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);  // reading needs no lock, and some network file systems have none
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) fail(Exit::data, "{}: damaged HDF5 file, expected one that opens", path);
}

Hdf5File::~Hdf5File() { H5Fclose(file_); }

std::vector<std::string> Hdf5File::names() const {
  std::vector<std::string> all;
  auto add = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
    auto& names = *static_cast<std::vector<std::string>*>(list);
    names.emplace_back(name);
    return names.size() >= 20;
  };
  H5Literate(file_, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &all);
  return all;
}

bool Hdf5File::has(const std::string& name) const { return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0; }

template <class T> std::vector<T> Hdf5File::matrix(const std::string& name, int64_t& rows, int64_t& columns) const {
  Dataset d(path_, file_, name);
  H5T_class_t kind = H5Tget_class(d.type);
  if (kind != H5T_FLOAT && kind != H5T_INTEGER) d.refuse("no numbers, expected numbers");
  rows = d.rows, columns = d.columns;
  std::vector<T> values(size_t(rows * columns));
  hid_t native = std::is_same_v<T, double> ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
  if (!values.empty() && H5Dread(d.data, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    d.refuse("damaged, expected readable numbers");
  return values;
}
template std::vector<float> Hdf5File::matrix(const std::string&, int64_t&, int64_t&) const;
template std::vector<double> Hdf5File::matrix(const std::string&, int64_t&, int64_t&) const;

std::vector<std::string> Hdf5File::strings(const std::string& name) const {
  Dataset d(path_, file_, name);
  if (H5Tget_class(d.type) != H5T_STRING) d.refuse("no strings, expected strings");
  if (d.columns != 1) d.refuse("{} columns, expected one", d.columns);
  std::vector<std::string> out;
  const auto n = size_t(d.rows);
  Id memory(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_cset(memory, H5Tget_cset(d.type));
  if (H5Tis_variable_str(d.type) > 0) {
    H5Tset_size(memory, H5T_VARIABLE);
    std::vector<char*> pointers(n, nullptr);
    if (n > 0 && H5Dread(d.data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) < 0)
      d.refuse("damaged, expected readable strings");
    for (const char* p : pointers) out.emplace_back(p ? p : "");
    H5Dvlen_reclaim(memory, d.space, H5P_DEFAULT, pointers.data());
    return out;
  }
  const size_t length = H5Tget_size(d.type);
  if (length == 0 || length > 4096) d.refuse("strings of {} bytes, expected at most 4096", length);
  H5Tset_size(memory, length);
  H5Tset_strpad(memory, H5T_STR_NULLPAD);
  std::string all(n * length, '\0');
  if (n > 0 && H5Dread(d.data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()) < 0) d.refuse("damaged, expected readable strings");
  for (size_t i = 0; i < n; i++) {
    const char* p = all.data() + i * length;
    out.emplace_back(p, ::strnlen(p, length));
  }
  return out;
}

}  // namespace stflow
