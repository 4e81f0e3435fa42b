#include "engine/safetensors.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // as the format's own reader

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
    fail(Exit::data, "{}: byte {}: tensor {}: {}", file, byte, shown(name, 160), fmt::format(format, std::forward<A>(args)...));
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
    if (!dtype.is_string() || !stored_named(dtype.get_ref<const std::string&>(), t.type))
      refuse("dtype {}, expected F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL F8_E4M3 or F8_E5M2", dtype.dump());
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

}  // namespace

SafeTensors::SafeTensors(const std::shared_ptr<const FileView>& file) : Weights(file->path(), "safetensors"), file_(file) {
  keep(file);
  std::string_view header = header_of(*file);
  std::map<std::string, int64_t> places;
  JsonRules rules;
  rules.depth = 4, rules.first_byte = 8, rules.values = 300'000;  // some 40,000 tensors
  Json json = parse_json(header, path(), rules, &places);
  const int64_t data_at = 8 + int64_t(header.size()), data_bytes = data_bytes_ = int64_t(file->size()) - data_at;

  std::vector<StoredTensor> found;
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) fail(Exit::data, "{}: byte {}: __metadata__ is no object, expected names with strings", path(), places[name]);
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string())
          fail(Exit::data, "{}: byte {}: __metadata__.{} is {}, expected a string", path(), places[name],
               shown(key).substr(1, shown(key).size() - 2), value.type_name());
        set_metadata(key, value.get<std::string>());
      }
      continue;
    }
    StoredTensor t;
    auto range = EntryReader{path(), places[name], name}.read(entry, t);
    if (range.second > data_bytes)
      fail(Exit::data, "{}: byte {}: tensor {}: ends at byte {}, expected at most {}: truncated?", path(), places[name], shown(name, 160),
           data_at + range.second, file->size());
    t.data = file->data() + data_at + range.first;
    found.push_back(std::move(t));
    ranges.push_back(range);
  }
  std::vector<size_t> order(ranges.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ranges[a] < ranges[b]; });
  int64_t end = 0;
  for (size_t i : order) {
    if (ranges[i].first != end)
      fail(Exit::data, "{}: byte {}: tensor {}: data start at byte {} ({}), expected {}", path(), places[found[i].name],
           shown(found[i].name, 160), data_at + ranges[i].first, ranges[i].first > end ? "a hole" : "an overlap", data_at + end);
    end = ranges[i].second;
    add(std::move(found[i]));
  }
  if (end != data_bytes)
    fail(Exit::data, "{}: byte {}: {} bytes after the last tensor, expected the end of the file", path(), data_at + end, data_bytes - end);
}

}  // namespace stflow
