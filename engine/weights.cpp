#include "engine/weights.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/half.h"
#include "engine/hash_file.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr struct {
  int bytes;
  const char* name;
} kTypes[] = {{8, "F64"}, {4, "F32"}, {2, "F16"}, {2, "BF16"}, {8, "I64"},  {4, "I32"},     {2, "I16"},    {1, "I8"},
              {8, "U64"}, {4, "U32"}, {2, "U16"}, {1, "U8"},   {1, "BOOL"}, {1, "F8_E4M3"}, {1, "F8_E5M2"}};

template <class T> T element(const unsigned char* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

/// Calls visit(index, offset) for elements [begin, end), `offset` in elements from the first.
template <class F> void walk(const StoredTensor& t, int64_t begin, int64_t end, F visit) {
  if (t.contiguous()) {
    for (int64_t i = begin; i < end; i++) visit(i, i);
    return;
  }
  const size_t rank = t.shape.size();
  std::vector<int64_t> at(rank);
  int64_t offset = 0, rest = begin;
  for (size_t d = rank; d-- > 0; rest /= t.shape[d]) at[d] = rest % t.shape[d], offset += at[d] * t.strides[d];
  for (int64_t i = begin; i < end; i++) {
    visit(i, offset);
    for (size_t d = rank; d-- > 0;) {
      offset += t.strides[d];
      if (++at[d] < t.shape[d]) break;
      offset -= at[d] * t.strides[d], at[d] = 0;
    }
  }
}

/// Calls put(index, value) for elements [begin, end), the value in the file's own kind (16-bit floats as float).
template <class F> void each(const StoredTensor& t, int64_t begin, int64_t end, const std::string& file, F put) {
  auto run = [&](auto zero, auto of) {
    walk(t, begin, end, [&](int64_t i, int64_t offset) { put(i, of(element<decltype(zero)>(t.data + offset * int64_t(sizeof zero)))); });
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
    case Stored::f8_e4m3:
    case Stored::f8_e5m2: break;
  }
  fail(Exit::data, "{}: tensor '{}': numbers of type {}, expected floats of at least 16 bits", file, t.name, name_of(t.type));
}

/// A number of the file as T; an integer T takes only whole numbers that it can hold.
template <class T, class X> T number(const StoredTensor& t, int64_t i, X x, const std::string& file) {
  if constexpr (!std::is_floating_point_v<T>) {
    bool fits = false;
    if constexpr (!std::is_floating_point_v<X>) fits = std::in_range<T>(x);  // numbers of another kind are never rounded in silence
    if (!fits)
      fail(Exit::data, "{}: tensor '{}': element {} is {} ({}), expected an integer of {} bits", file, t.name, i, x, name_of(t.type),
           8 * sizeof(T));
  }
  return T(x);
}

template <class T> struct StoredOf;
template <> struct StoredOf<float> { static constexpr Stored value = Stored::f32; };
template <> struct StoredOf<double> { static constexpr Stored value = Stored::f64; };
template <> struct StoredOf<int32_t> { static constexpr Stored value = Stored::i32; };
template <> struct StoredOf<int64_t> { static constexpr Stored value = Stored::i64; };

int64_t product(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

}  // namespace

int64_t bytes_of(Stored s) { return kTypes[size_t(s)].bytes; }
const char* name_of(Stored s) { return kTypes[size_t(s)].name; }

bool stored_named(const std::string& name, Stored& type) {
  for (size_t i = 0; i < std::size(kTypes); i++)
    if (name == kTypes[i].name) return type = Stored(i), true;
  return false;
}

std::string StoredTensor::shape_text() const {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); i++) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

bool StoredTensor::contiguous() const {
  if (strides.empty() || size <= 1) return true;
  int64_t want = 1;
  for (size_t d = shape.size(); d-- > 0; want *= shape[d])
    if (shape[d] != 1 && strides[d] != want) return false;
  return true;
}

void convert(const StoredTensor& t, int64_t begin, int64_t end, Stored to, void* out, const std::string& file) {
  if (t.type == to && t.contiguous()) {
    if (end > begin) std::memcpy(out, t.data + begin * bytes_of(to), size_t((end - begin) * bytes_of(to)));
    return;
  }
  auto* bytes = static_cast<unsigned char*>(out);
  auto put = [&](int64_t i, auto x) { std::memcpy(bytes + (i - begin) * int64_t(sizeof x), &x, sizeof x); };
  auto as = [&](auto zero) { each(t, begin, end, file, [&](int64_t i, auto x) { put(i, number<decltype(zero)>(t, i, x, file)); }); };
  switch (to) {
    case Stored::f64: return as(double{});
    case Stored::f32: return as(float{});
    case Stored::f16: return each(t, begin, end, file, [&](int64_t i, auto x) { put(i, float_to_half(float(x))); });
    case Stored::bf16: return each(t, begin, end, file, [&](int64_t i, auto x) { put(i, float_to_bfloat(float(x))); });
    case Stored::i64: return as(int64_t{});
    case Stored::i32: return as(int32_t{});
    case Stored::i16: return as(int16_t{});
    case Stored::i8: return as(int8_t{});
    case Stored::u64: return as(uint64_t{});
    case Stored::u32: return as(uint32_t{});
    case Stored::u16: return as(uint16_t{});
    case Stored::u8:
    case Stored::boolean: return as(uint8_t{});
    case Stored::f8_e4m3:
    case Stored::f8_e5m2: break;
  }
  fail(Exit::data, "{}: tensor '{}': wanted as {}, expected a float of at least 16 bits", file, t.name, name_of(to));
}

std::string Weights::sha256() const {
  const auto digest = [](const FileView& file) {
    Sha256 hash;
    add_file(hash, file);
    return hash.hex();
  };
  if (files_.size() == 1) return digest(*files_[0]);
  std::string hashes;
  for (const auto& f : files_) hashes += digest(*f) + "\n";
  return stflow::sha256(hashes);
}

void Weights::forget(const std::string& name) const {
  const StoredTensor& t = at(name);
  for (const auto& f : files_)
    if (t.contiguous() && t.data >= f->data() && t.data < f->data() + f->size()) f->forget(t.data, size_t(t.size * bytes_of(t.type)));
}

uint64_t Weights::file_bytes() const {
  uint64_t n = 0;
  for (const auto& f : files_) n += f->size();
  return n;
}

const StoredTensor* Weights::find(const std::string& name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const StoredTensor& Weights::at(const std::string& name) const {
  const StoredTensor* t = find(name);
  if (!t) fail(Exit::data, "{}: no tensor '{}', expected one among its {}", path(), name, tensors_.size());
  return *t;
}

const std::string& Weights::meta(const std::string& key) const {
  auto it = metadata_.find(key);
  if (it == metadata_.end()) fail(Exit::data, "{}: __metadata__: no '{}', expected one", path(), key);
  return it->second;
}

template <class T> std::vector<T> Weights::read(const std::string& name) const {
  const StoredTensor& t = at(name);
  std::vector<T> out(size_t(t.size));
  convert(t, 0, t.size, StoredOf<T>::value, out.data(), path());
  return out;
}
template std::vector<float> Weights::read(const std::string&) const;
template std::vector<double> Weights::read(const std::string&) const;
template std::vector<int32_t> Weights::read(const std::string&) const;
template std::vector<int64_t> Weights::read(const std::string&) const;

void Weights::add(StoredTensor t) {
  if (const std::string name = shown(t.name, t.name.size() + 2); name.size() != t.name.size() + 2 || t.name.empty())
    fail(Exit::data, "{}: tensor {}: such a name, expected printable UTF-8", path(), shown(t.name));
  if (!index_.emplace(t.name, tensors_.size()).second)
    fail(Exit::data, "{}: tensor '{}' a second time, expected each name once", path(), t.name);
  tensors_.push_back(std::move(t));
}

void Weights::add_values(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
  check(product(shape) == int64_t(values.size()), "{}: {} values for {} elements", name, values.size(), product(shape));
  std::vector<unsigned char> bytes(values.size() * sizeof(float) + 1);  // an empty one has an address too
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), values.size() * sizeof(float));
  memory_.push_back(std::make_shared<const std::vector<unsigned char>>(std::move(bytes)));
  add({name, Stored::f32, std::move(shape), {}, memory_.back()->data(), int64_t(values.size())});
}

void Weights::add_concatenated(const std::string& name, const std::vector<const StoredTensor*>& parts) {
  check(!parts.empty(), "{}: no parts to concatenate", name);
  const StoredTensor& first = *parts[0];
  std::vector<int64_t> shape = first.shape;
  int64_t size = 0, rows = 0;
  for (const StoredTensor* p : parts) {
    if (p->type != first.type || p->shape.empty() || p->shape.size() != shape.size() ||
        !std::equal(shape.begin() + 1, shape.end(), p->shape.begin() + 1))
      fail(Exit::data, "{}: tensor '{}': {} {}, expected {} {} but for the first dimension, as '{}'", path(), p->name, name_of(p->type),
           p->shape_text(), name_of(first.type), first.shape_text(), first.name);
    size += p->size, rows += p->shape[0];
  }
  shape[0] = rows;
  std::vector<unsigned char> bytes(size_t(size * bytes_of(first.type)) + 1);
  int64_t at = 0;
  for (const StoredTensor* p : parts) {
    convert(*p, 0, p->size, first.type, bytes.data() + at, path());
    at += p->size * bytes_of(first.type);
  }
  memory_.push_back(std::make_shared<const std::vector<unsigned char>>(std::move(bytes)));
  add({name, first.type, std::move(shape), {}, memory_.back()->data(), size});
}

void Weights::absorb(const Weights& other) {
  files_.insert(files_.end(), other.files_.begin(), other.files_.end());
  memory_.insert(memory_.end(), other.memory_.begin(), other.memory_.end());
  for (const StoredTensor& t : other.tensors_) add(t);
  metadata_.insert(other.metadata_.begin(), other.metadata_.end());
  notes_.insert(notes_.end(), other.notes_.begin(), other.notes_.end());
}

Weights Weights::without_tensors() const {
  Weights w = *this;
  w.tensors_.clear();
  w.index_.clear();
  return w;
}

}  // namespace stflow
