#include "data/hdf5_file.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "data/hdf5_id.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

enum class Place { none, here, elsewhere };

/// Whether there is such a path; a link on the way that leads out of the tree (external or symbolic) is never followed.
Place look(hid_t file, const std::string& path) {
  for (size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string part = path.substr(0, end);
    H5L_info_t link{};
    if (part == "/") continue;
    if (H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT) < 0) return Place::none;
    if (link.type != H5L_TYPE_HARD) return Place::elsewhere;
  }
  return Place::here;
}

template <class T> hid_t native() {
  if constexpr (std::is_same_v<T, double>) return H5T_NATIVE_DOUBLE;
  else if constexpr (std::is_same_v<T, float>) return H5T_NATIVE_FLOAT;
  else if constexpr (std::is_same_v<T, int64_t>) return H5T_NATIVE_INT64;
  else return H5T_NATIVE_INT32;
}

/// A dataset that is stored in this very file, by filters that are built in.
struct Dataset {
  const std::string& file;
  const std::string& name;
  Hdf5Id data, type, space;
  std::vector<hsize_t> dims;
  int64_t rows = 0, columns = 1;  // columns: what the dimensions after the first give

  template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) const {
    fail(Exit::data, "{}: dataset '{}': {}", file, name, fmt::format(format, std::forward<A>(args)...));
  }

  Dataset(const std::string& path, hid_t f, const std::string& n, int most_dimensions = 2, int least_dimensions = 1)
      : file(path), name(n), data(open(f), H5Dclose), type(H5Dget_type(data), H5Tclose), space(H5Dget_space(data), H5Sclose) {
    Hdf5Id plist(H5Dget_create_plist(data), H5Pclose);
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
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank < least_dimensions || rank > most_dimensions)
      refuse("{} dimensions, expected {} {} {}", rank, least_dimensions, most_dimensions == least_dimensions + 1 ? "or" : "to",
             most_dimensions);
    dims.resize(size_t(rank));
    H5Sget_simple_extent_dims(space, dims.data(), nullptr);
    constexpr hsize_t kMost = hsize_t(1) << 40;
    hsize_t all = 1;
    for (const hsize_t d : dims) {
      if (d > kMost || all * std::max<hsize_t>(d, 1) > kMost) refuse("{} values, expected fewer", size_text());
      all *= std::max<hsize_t>(d, 1);
    }
    rows = dims.empty() ? 1 : int64_t(dims[0]);
    for (size_t i = 1; i < dims.size(); i++) columns *= int64_t(dims[i]);
    // deflate shrinks at most about 1,030 times: a larger claim is no whole file
    uint64_t claimed = uint64_t(rows) * uint64_t(columns) * H5Tget_size(type), stored = H5Dget_storage_size(data);
    if (claimed / 1100 > stored) refuse("{} bytes stored for {} values, expected a whole dataset", stored, size_text());
  }

  /// "100 x 224 x 224 x 3".
  [[nodiscard]] std::string size_text() const {
    std::string text;
    for (const hsize_t d : dims) text += (text.empty() ? "" : " x ") + std::to_string(d);
    return dims.size() == 1 ? text + " x 1" : text;
  }

  void read_rows(int64_t first, int64_t count, hid_t as, void* values) const {
    if (first < 0 || count < 0 || first + count > rows) refuse("{} rows, expected at least {}", rows, first + count);
    std::vector<hsize_t> start(dims.size(), 0), size = dims;
    start[0] = hsize_t(first), size[0] = hsize_t(count);
    if (count * columns == 0) return;
    const Hdf5Id memory(H5Screate_simple(int(size.size()), size.data(), nullptr), H5Sclose);
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) < 0 ||
        H5Dread(data, as, memory, space, H5P_DEFAULT, values) < 0)
      refuse("damaged, expected readable numbers");
  }

  [[nodiscard]] bool is_byte() const {
    return H5Tget_class(type) == H5T_INTEGER && H5Tget_size(type) == 1 && H5Tget_sign(type) == H5T_SGN_NONE;
  }
  [[nodiscard]] bool is_number() const {
    const H5T_class_t kind = H5Tget_class(type);
    return kind == H5T_FLOAT || kind == H5T_INTEGER || kind == H5T_ENUM;  // h5py's booleans are an enumeration
  }

  hid_t open(hid_t f) const {
    const Place place = look(f, name);
    if (place == Place::none) refuse("not there, expected one");
    if (place == Place::elsewhere) refuse("a link to elsewhere, expected data in this file");
    hid_t d = H5Dopen2(f, name.c_str(), H5P_DEFAULT);
    if (d < 0) refuse("damaged or a group, expected a dataset");
    return d;
  }
};

template <class T> std::vector<T> numbers_of(const Dataset& d) {
  if (!d.is_number()) d.refuse("no numbers, expected numbers");
  std::vector<T> values(size_t(d.rows * d.columns));
  if (!values.empty() && H5Dread(d.data, native<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    d.refuse("damaged, expected readable numbers");
  return values;
}

/// The library makes room for the length that a string of variable length is said to have before it looks for its text. That lies in the
/// file as it is, whatever packs the dataset: all texts together are no longer than the file.
uint64_t room_for_strings(const std::string& path, size_t count) {
  constexpr uint64_t kLibrary = uint64_t(64) << 20, kEach = 64;
  return kLibrary + kEach * count + 2 * FileView(path).size();
}

/// Strings of a dataset, or of a field of it, of this type in the file.
std::vector<std::string> strings_of(const Dataset& d, hid_t type, const std::string& field) {
  if (H5Tget_class(type) != H5T_STRING) d.refuse("no strings, expected strings");
  std::vector<std::string> out;
  const auto n = size_t(d.rows);
  const Hdf5Id text(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_cset(text, H5Tget_cset(type));
  const bool variable = H5Tis_variable_str(type) > 0;
  const size_t length = variable ? sizeof(char*) : H5Tget_size(type);
  if (!variable && (length == 0 || length > 4096)) d.refuse("strings of {} bytes, expected at most 4096", length);
  H5Tset_size(text, variable ? H5T_VARIABLE : length);
  if (!variable) H5Tset_strpad(text, H5T_STR_NULLPAD);
  const Hdf5Id memory(field.empty() ? H5Tcopy(text) : H5Tcreate(H5T_COMPOUND, length), H5Tclose);
  if (!field.empty() && H5Tinsert(memory, field.c_str(), 0, text) < 0) d.refuse("field {}: damaged, expected records", shown(field));
  auto read = [&](void* to) {
    if (n > 0 && H5Dread(d.data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0) d.refuse("damaged, expected readable strings");
  };
  if (variable) {
    std::vector<char*> pointers(n, nullptr);
    {
      const ChildRoom room(room_for_strings(d.file, n));
      read(pointers.data());
    }
    for (const char* p : pointers) out.emplace_back(p ? p : "");
    H5Dvlen_reclaim(memory, d.space, H5P_DEFAULT, pointers.data());
    return out;
  }
  std::string all(n * length, '\0');
  read(all.data());
  for (size_t i = 0; i < n; i++) {
    const char* p = all.data() + i * length;
    out.emplace_back(p, ::strnlen(p, length));
  }
  return out;
}

/// A path inside a file, as messages show it.
std::string shown_name(const std::string& name) {
  const std::string text = shown(name);
  return text.size() > 2 ? text.substr(1, text.size() - 2) : text;
}

/// An attribute; an id below 0 if there is none.
Hdf5Id attribute(hid_t file, const std::string& object, const std::string& key) {
  if (look(file, object) != Place::here) return {-1, H5Aclose};
  if (H5Aexists_by_name(file, object.c_str(), key.c_str(), H5P_DEFAULT) <= 0) return {-1, H5Aclose};
  return {H5Aopen_by_name(file, object.c_str(), key.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose};
}

}  // namespace

std::string read_hdf5(const std::string& path, const std::function<std::string()>& work) {
  ChildLimits limits;
  {
    const FileView file(path);
    const std::string_view what = sniff(file.text().substr(0, 512));
    limits.seconds = int(4 + file.text().size() / (1 << 20));
    if (what != "an HDF5 file") fail(Exit::data, "{}: is {}, expected an HDF5 file", path, what.empty() ? "of an unknown format" : what);
  }
  return in_child_process(path, "HDF5", limits, work);
}

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

Hdf5File::Kind Hdf5File::kind(const std::string& name) const {
  const Place place = look(file_, name);
  if (place == Place::none) return Kind::none;
  if (place == Place::elsewhere)
    fail(Exit::data, "{}: dataset '{}': a link to elsewhere, expected data in this file", path_, shown_name(name));
  const Hdf5Id object(H5Oopen(file_, name.c_str(), H5P_DEFAULT), H5Oclose);
  const H5I_type_t type = object < 0 ? H5I_BADID : H5Iget_type(object);
  if (type != H5I_GROUP && type != H5I_DATASET)
    fail(Exit::data, "{}: '{}': damaged or a type, expected a group or a dataset", path_, shown_name(name));
  return type == H5I_GROUP ? Kind::group : Kind::dataset;
}

std::vector<std::string> Hdf5File::members(const std::string& group) const {
  constexpr size_t kMost = 100'000;
  if (kind(group) != Kind::group) fail(Exit::data, "{}: '{}': not there or a dataset, expected a group", path_, shown_name(group));
  std::vector<std::string> all;
  auto add = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
    auto& names = *static_cast<std::vector<std::string>*>(list);
    names.emplace_back(name);
    return names.size() > kMost;
  };
  const Hdf5Id g(H5Gopen2(file_, group.c_str(), H5P_DEFAULT), H5Gclose);
  if (g < 0 || H5Literate(g, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &all) < 0 || all.size() > kMost)
    fail(Exit::data, "{}: '{}': damaged or more than {} members, expected a readable group", path_, shown_name(group), kMost);
  return all;
}

template <class T> std::vector<T> Hdf5File::matrix(const std::string& name, int64_t& rows, int64_t& columns) const {
  Dataset d(path_, file_, name);
  rows = d.rows, columns = d.columns;
  return numbers_of<T>(d);
}
template std::vector<float> Hdf5File::matrix(const std::string&, int64_t&, int64_t&) const;
template std::vector<double> Hdf5File::matrix(const std::string&, int64_t&, int64_t&) const;

template <class T> std::vector<T> Hdf5File::array(const std::string& name, std::vector<int64_t>& dims) const {
  const Dataset d(path_, file_, name, 4, 0);
  dims.assign(d.dims.begin(), d.dims.end());
  return numbers_of<T>(d);
}
template std::vector<float> Hdf5File::array(const std::string&, std::vector<int64_t>&) const;
template std::vector<double> Hdf5File::array(const std::string&, std::vector<int64_t>&) const;
template std::vector<int32_t> Hdf5File::array(const std::string&, std::vector<int64_t>&) const;
template std::vector<int64_t> Hdf5File::array(const std::string&, std::vector<int64_t>&) const;

template <class T> std::vector<T> Hdf5File::rows(const std::string& name, int64_t first, int64_t count) const {
  const Dataset d(path_, file_, name, 4);
  if (!d.is_number()) d.refuse("no numbers, expected numbers");
  std::vector<T> values(size_t(count * d.columns));
  d.read_rows(first, count, native<T>(), values.data());
  return values;
}
template std::vector<float> Hdf5File::rows(const std::string&, int64_t, int64_t) const;

bool Hdf5File::is_text(const std::string& name) const { return H5Tget_class(Dataset(path_, file_, name, 4, 0).type) == H5T_STRING; }

std::vector<std::string> Hdf5File::strings(const std::string& name) const {
  Dataset d(path_, file_, name, 2, 0);
  if (d.columns != 1) d.refuse("{} columns, expected one", d.columns);
  return strings_of(d, d.type, "");
}

bool Hdf5File::is_byte(const std::string& name) const { return Dataset(path_, file_, name, 4, 0).is_byte(); }

std::vector<std::string> Hdf5File::fields(const std::string& name) const {
  const Dataset d(path_, file_, name);
  std::vector<std::string> all;
  if (H5Tget_class(d.type) != H5T_COMPOUND) return all;
  for (unsigned i = 0; i < unsigned(std::max(H5Tget_nmembers(d.type), 0)); i++) {
    char* text = H5Tget_member_name(d.type, i);
    if (!text) d.refuse("damaged, expected records");
    all.emplace_back(text);
    H5free_memory(text);
  }
  return all;
}

std::variant<std::vector<double>, std::vector<std::string>> Hdf5File::field(const std::string& name, const std::string& field) const {
  const Dataset d(path_, file_, name);
  const int index = H5Tget_class(d.type) == H5T_COMPOUND ? H5Tget_member_index(d.type, field.c_str()) : -1;
  if (index < 0 || d.columns != 1) d.refuse("no field {}, expected records with one", shown(field));
  const Hdf5Id type(H5Tget_member_type(d.type, unsigned(index)), H5Tclose);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_STRING) return strings_of(d, type, field);
  if (kind != H5T_FLOAT && kind != H5T_INTEGER && kind != H5T_ENUM)
    d.refuse("field {}: no numbers or strings, expected either", shown(field));
  const Hdf5Id memory(H5Tcreate(H5T_COMPOUND, sizeof(double)), H5Tclose);
  std::vector<double> values(size_t(d.rows));
  if (H5Tinsert(memory, field.c_str(), 0, H5T_NATIVE_DOUBLE) < 0 ||
      (d.rows > 0 && H5Dread(d.data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0))
    d.refuse("field {}: damaged, expected readable numbers", shown(field));
  return values;
}

std::vector<int64_t> Hdf5File::shape(const std::string& name) const {
  const Dataset d(path_, file_, name, 4);
  return {d.dims.begin(), d.dims.end()};
}

std::string Hdf5File::bytes(const std::string& name, int64_t first, int64_t count) const {
  const Dataset d(path_, file_, name, 4);
  if (!d.is_byte()) d.refuse("no unsigned bytes, expected pixels");
  std::string values(size_t(std::max<int64_t>(count, 0) * d.columns), '\0');
  d.read_rows(first, count, H5T_NATIVE_UINT8, values.data());
  return values;
}

std::vector<double> Hdf5File::numbers(const std::string& object, const std::string& key) const {
  const Hdf5Id a = attribute(file_, object, key);
  if (a < 0) return {};
  const Hdf5Id type(H5Aget_type(a), H5Tclose), space(H5Aget_space(a), H5Sclose);
  const H5T_class_t kind = H5Tget_class(type);
  std::array<double, 16> values{};
  const hssize_t many = H5Sget_simple_extent_npoints(space);
  if ((kind != H5T_FLOAT && kind != H5T_INTEGER) || many < 1 || many > hssize_t(values.size()) ||
      H5Aread(a, H5T_NATIVE_DOUBLE, values.data()) < 0)
    return {};
  return {values.begin(), values.begin() + many};
}

std::optional<double> Hdf5File::number(const std::string& object, const std::string& key) const {
  const std::vector<double> all = numbers(object, key);
  return all.empty() ? std::nullopt : std::optional(all[0]);
}

std::optional<std::string> Hdf5File::text(const std::string& object, const std::string& key) const {
  constexpr size_t kMost = 65536;
  const Hdf5Id a = attribute(file_, object, key);
  if (a < 0) return {};
  const Hdf5Id type(H5Aget_type(a), H5Tclose), space(H5Aget_space(a), H5Sclose);
  if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_npoints(space) != 1) return {};
  const Hdf5Id memory(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_cset(memory, H5Tget_cset(type));
  if (H5Tis_variable_str(type) > 0) {
    H5Tset_size(memory, H5T_VARIABLE);
    char* pointer = nullptr;
    const ChildRoom room(room_for_strings(path_, 1));
    if (H5Aread(a, memory, &pointer) < 0 || !pointer) return {};
    std::string value(pointer, ::strnlen(pointer, kMost));
    H5Dvlen_reclaim(memory, space, H5P_DEFAULT, &pointer);
    return value;
  }
  const size_t length = H5Tget_size(type);
  if (length == 0 || length > kMost) return {};
  H5Tset_size(memory, length);
  H5Tset_strpad(memory, H5T_STR_NULLPAD);
  std::string value(length, '\0');
  if (H5Aread(a, memory, value.data()) < 0) return {};
  value.resize(::strnlen(value.data(), length));
  return value;
}

}  // namespace stflow
