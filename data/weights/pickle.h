// A pickle as data: an interpreter that builds values and never calls, imports or opens anything. What a pickle of PyTorch's needs is
// understood (dictionaries, lists, numbers, texts, tensors over storages); every other object becomes an inert placeholder whose name
// is listed. Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/weights.h"

namespace stflow {

struct PickleValue {
  enum class Kind : uint8_t { none, boolean, integer, real, text, bytes, tuple, list, dict, global, object, storage, tensor };
  Kind kind = Kind::none;
  uint32_t index = 0;     // tuple, list, dict: into Pickle::items; global, object: globals; storage: storages; tensor: tensors
  int64_t integer = 0;    // integer, boolean; text and bytes: their length
  const char* text = "";  // text and bytes: in the pickle itself

  [[nodiscard]] std::string_view view() const { return {text, size_t(integer)}; }
};

/// "collections.OrderedDict": the name of a class or function, in the pickle itself.
struct PickleGlobal {
  std::string_view module, name;
  [[nodiscard]] bool is(std::string_view m, std::string_view n) const { return module == m && name == n; }
  [[nodiscard]] std::string text() const;  // fit for an error line
};

/// What a persistent id ('storage', type, key, device, elements) names.
struct PickleStorage {
  std::string_view key;
  Stored type = Stored::f32;
  int64_t elements = 0;
  bool known = true;  // false: a type of torch that has no counterpart here; its tensors are placeholders
};

struct PickleTensor {
  uint32_t storage = 0;
  int64_t offset = 0;  // in elements, as the strides
  std::vector<int64_t> shape, strides;
};

struct Pickle {
  std::vector<PickleValue> values;
  std::vector<std::vector<uint32_t>> items;  // values of a tuple or list; of a dict key, value, key, value...
  std::vector<PickleGlobal> globals;
  std::vector<std::string> placeholders;  // those of them that objects were made of, sorted, the first 1000: none of them ran
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
  uint32_t root = 0;
  size_t end = 0;  // bytes up to and with STOP

  [[nodiscard]] const PickleValue& value(uint32_t i) const { return values[i]; }
  [[nodiscard]] const std::vector<uint32_t>& children(const PickleValue& v) const { return items[v.index]; }
};

/// Interprets the pickle that begins with `bytes`, which must outlive the result. Throws Exit::data "<file>: <where>byte <n>: ..." for an
/// opcode or protocol it does not know, an operand that is not there or of the wrong kind, more than 64 open marks, 500,000 values,
/// 1,000,000 stack entries, items or memo entries. `base` is added to the bytes that messages name.
Pickle read_pickle(std::string_view bytes, const std::string& file, const std::string& where, uint64_t base = 0);

}  // namespace stflow
