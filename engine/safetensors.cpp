#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "engine/half.h"
#include "engine/json.h"
#include "engine/storage.h"

namespace stflow {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // as the format's own reader
constexpr struct {
  Stored type;
  int bytes;
  const char* name;
} kTypes[] = {{Stored::f64, 8, "F64"},     {Stored::f32, 4, "F32"}, {Stored::f16, 2, "F16"}, {Stored::bf16, 2, "BF16"},
              {Stored::i64, 8, "I64"},     {Stored::i32, 4, "I32"}, {Stored::i16, 2, "I16"}, {Stored::i8, 1, "I8"},
              {Stored::u64, 8, "U64"},     {Stored::u32, 4, "U32"}, {Stored::u16, 2, "U16"}, {Stored::u8, 1, "U8"},
              {Stored::boolean, 1, "BOOL"}};

uint64_t little_endian(const unsigned char* p) {
  uint64_t x = 0;
  for (int i = 7; i >= 0; i--) x = x << 8 | p[i];
  return x;
}

/// Where the header of a mapped file is; refuses what is no safetensors file at all.
std::string_view header_of(const FileView& file) {
  std::string_view what = sniff(file.text().substr(0, 512));
  if (!what.empty()) fail(Exit::data, "{}: byte 0: is {}, expected a safetensors file", file.path(), what);
  if (file.size() < 8) fail(Exit::data, "{}: byte 0: {} bytes in all, expected a header length of 8 bytes", file.path(), file.size());
  uint64_t n = little_endian(file.data());
  if (n > kMaxHeader) fail(Exit::data, "{}: byte 0: header of {} bytes, expected at most {}", file.path(), n, kMaxHeader);
  if (n > file.size() - 8)
    fail(Exit::data, "{}: byte 0: header of {} bytes, expected at most the {} that follow: truncated?", file.path(), n, file.size() - 8);
  if (n == 0 || file.data()[8] != '{') fail(Exit::data, "{}: byte 8: no '{{', expected a JSON header", file.path());
  return file.text().substr(8, n);
}

/// One tensor's entry of the header, refused with the byte where it stands.
struct EntryReader {
  const std::string& file;
  int64_t byte;
  const std::string& name;
  template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) const {
    fail(Exit::data, "{}: byte {}: tensor '{}': {}", file, byte, name, fmt::format(format, std::forward<A>(args)...));
  }
  [[nodiscard]] int64_t whole(const Json& x, const char* what) const {
    if (!x.is_number_unsigned() || x.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
      refuse("{} {}, expected whole numbers from 0", what, x.dump());
    return x.get<int64_t>();
  }
  [[nodiscard]] const Json& member(const Json& entry, const char* key) const {
    if (!entry.is_object() || !entry.contains(key)) refuse("no '{}', expected dtype, shape and data_offsets", key);
    return entry.at(key);
  }
  /// The tensor with data == nullptr, and its byte range in the data part.
  std::pair<int64_t, int64_t> read(const Json& entry, StoredTensor& t) const {
    t.name = name;
    const Json &dtype = member(entry, "dtype"), &shape = member(entry, "shape"), &offsets = member(entry, "data_offsets");
    if (entry.size() != 3) refuse("{} members, expected dtype, shape and data_offsets", entry.size());
    const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [&](const auto& k) { return dtype.is_string() && dtype.get_ref<const std::string&>() == k.name; });
    if (known == std::end(kTypes)) refuse("dtype {}, expected F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 or BOOL", dtype.dump());
    t.type = known->type;
    if (!shape.is_array()) refuse("shape {}, expected an array", shape.dump());
    t.size = 1;
    for (const Json& d : shape) t.shape.push_back(whole(d, "shape with"));
    for (int64_t d : t.shape)
      if (__builtin_mul_overflow(t.size, d, &t.size)) refuse("shape {} overflows, expected fewer elements", t.shape_text());
    int64_t bytes = 0;
    if (__builtin_mul_overflow(t.size, bytes_of(t.type), &bytes)) refuse("shape {} overflows, expected fewer bytes", t.shape_text());
    if (!offsets.is_array() || offsets.size() != 2) refuse("data_offsets {}, expected two numbers", offsets.dump());
    int64_t begin = whole(offsets[0], "data_offsets with"), end = whole(offsets[1], "data_offsets with");
    if (end < begin || end - begin != bytes)
      refuse("data_offsets {}, expected {} bytes for {} {}", offsets.dump(), bytes, name_of(t.type), t.shape_text());
    return {begin, end};
  }
};

template <class T> T element(const unsigned char* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

/// Calls put(index, value) for every element, the value in the file's own kind (16-bit floats as float).
template <class F> void each(const StoredTensor& t, F put) {
  auto run = [&](auto zero, auto convert) {
    for (int64_t i = 0; i < t.size; i++) put(i, convert(element<decltype(zero)>(t.data + i * int64_t(sizeof zero))));
  };
  auto plain = [&](auto zero) { run(zero, [](auto x) { return x; }); };
  switch (t.type) {
    case Stored::f64: return plain(double{});
    case Stored::f32: return plain(float{});
    case Stored::f16: return run(uint16_t{}, half_to_float);
    case Stored::bf16: return run(uint16_t{}, bfloat_to_float);
    case Stored::i64: return plain(int64_t{});
    case Stored::i32: return plain(int32_t{});
    case Stored::i16: return plain(int16_t{});
    case Stored::i8: return plain(int8_t{});
    case Stored::u64: return plain(uint64_t{});
    case Stored::u32: return plain(uint32_t{});
    case Stored::u16: return plain(uint16_t{});
    case Stored::u8:
    case Stored::boolean: return plain(uint8_t{});
  }
}

/// Fills out[0, t.size). An integer target takes only whole numbers that it can hold.
template <class T> void convert(const StoredTensor& t, T* out, const std::string& file) {
  if constexpr (std::is_floating_point_v<T>) {
    each(t, [&](int64_t i, auto x) { out[i] = T(x); });
  } else {
    each(t, [&](int64_t i, auto x) {
      bool fits = false;
      if constexpr (std::is_floating_point_v<decltype(x)>) {
        // numbers of another kind are never rounded in silence
      } else {
        fits = std::in_range<T>(x);
      }
      if (!fits)
        fail(Exit::data, "{}: tensor '{}': element {} is {} ({}), expected an integer of {} bits", file, t.name, i, x, name_of(t.type),
             8 * sizeof(T));
      out[i] = T(x);
    });
  }
}

}  // namespace

int64_t bytes_of(Stored s) { return kTypes[size_t(s)].bytes; }
const char* name_of(Stored s) { return kTypes[size_t(s)].name; }

std::string StoredTensor::shape_text() const {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); i++) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

SafeTensors::SafeTensors(const std::string& path) : file_(path) {
  std::string_view header = header_of(file_);
  std::map<std::string, int64_t> places;
  JsonRules rules;
  rules.depth = 4, rules.first_byte = 8;
  Json json = parse_json(header, path, rules, &places);
  const int64_t data_at = 8 + int64_t(header.size()), data_bytes = data_bytes_ = int64_t(file_.size()) - data_at;

  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) fail(Exit::data, "{}: byte {}: __metadata__ is no object, expected names with strings", path, places[name]);
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string())
          fail(Exit::data, "{}: byte {}: __metadata__.{} is {}, expected a string", path, places[name], key, value.type_name());
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    StoredTensor t;
    auto range = EntryReader{path, places[name], name}.read(entry, t);
    if (range.second > data_bytes)
      fail(Exit::data, "{}: byte {}: tensor '{}': ends at byte {}, expected at most {}: truncated?", path, places[name], name,
           data_at + range.second, file_.size());
    t.data = file_.data() + data_at + range.first;
    tensors_.push_back(std::move(t));
    ranges.push_back(range);
  }
  std::vector<size_t> order(ranges.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ranges[a] < ranges[b]; });
  int64_t end = 0;
  std::vector<StoredTensor> sorted;
  for (size_t i : order) {
    if (ranges[i].first != end)
      fail(Exit::data, "{}: byte {}: tensor '{}': data start at byte {} ({}), expected {}", path, places[tensors_[i].name],
           tensors_[i].name, data_at + ranges[i].first, ranges[i].first > end ? "a hole" : "an overlap", data_at + end);
    end = ranges[i].second;
    index_[tensors_[i].name] = sorted.size();
    sorted.push_back(std::move(tensors_[i]));
  }
  tensors_ = std::move(sorted);
  if (end != data_bytes)
    fail(Exit::data, "{}: byte {}: {} bytes after the last tensor, expected the end of the file", path, data_at + end, data_bytes - end);
}

const StoredTensor* SafeTensors::find(const std::string& name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const StoredTensor& SafeTensors::at(const std::string& name) const {
  const StoredTensor* t = find(name);
  if (!t) fail(Exit::data, "{}: no tensor '{}', expected one among its {}", path(), name, tensors_.size());
  return *t;
}

const std::string& SafeTensors::meta(const std::string& key) const {
  auto it = metadata_.find(key);
  if (it == metadata_.end()) fail(Exit::data, "{}: __metadata__: no '{}', expected one", path(), key);
  return it->second;
}

template <class T> std::vector<T> SafeTensors::read(const std::string& name) const {
  const StoredTensor& t = at(name);
  std::vector<T> out(size_t(t.size));
  convert(t, out.data(), path());
  return out;
}
template std::vector<float> SafeTensors::read(const std::string&) const;
template std::vector<double> SafeTensors::read(const std::string&) const;
template std::vector<int32_t> SafeTensors::read(const std::string&) const;
template std::vector<int64_t> SafeTensors::read(const std::string&) const;

void SafeTensors::forget(const std::string& name) const {
  const StoredTensor& t = at(name);
  file_.forget(t.data, size_t(t.size * bytes_of(t.type)));
}

void SafeTensors::read_into(const std::string& name, const Tensor& out, Device device) const {
  if (device != Device::cpu) {
    const Array here(out.shape, out.type);
    read_into(name, here);
    return copy(device, out.data, Device::cpu, here.tensor().data, out.bytes());
  }
  const StoredTensor& t = at(name);
  std::vector<int64_t> wanted(out.shape.n, out.shape.n + out.shape.rank);
  if (t.shape != wanted) fail(Exit::data, "{}: tensor '{}': shape {}, expected {}", path(), name, t.shape_text(), out.shape.text());
  if (out.type == DType::f64) convert(t, out.as<double>(), path());
  else if (out.type == DType::f32) convert(t, out.as<float>(), path());
  else if (is_half(out.type)) {
    check(t.type == (out.type == DType::f16 ? Stored::f16 : Stored::bf16), "{}: {} read as {}", name, name_of(t.type), name_of(out.type));
    std::memcpy(out.data, t.data, out.bytes());
  } else convert(t, out.as<int32_t>(), path());
}

}  // namespace stflow
