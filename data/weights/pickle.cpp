#include "data/weights/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>
#include <utility>

#include "data/weights/cursor.h"
#include "engine/text.h"

namespace stflow {
namespace {

using Kind = PickleValue::Kind;
constexpr size_t kValues = 500'000, kEntries = 1'000'000, kMarks = 64, kRank = 16;
constexpr uint32_t kNoMemo = 0xffffffff;

/// Classes of the module torch.
constexpr struct {
  std::string_view name;
  Stored type;
} kStorages[] = {{"FloatStorage", Stored::f32},     {"DoubleStorage", Stored::f64}, {"HalfStorage", Stored::f16},
                 {"BFloat16Storage", Stored::bf16}, {"LongStorage", Stored::i64},   {"IntStorage", Stored::i32},
                 {"ShortStorage", Stored::i16},     {"CharStorage", Stored::i8},    {"ByteStorage", Stored::u8},
                 {"BoolStorage", Stored::boolean}};

const char* name_of(Kind k) {
  constexpr const char* kNames[] = {"None", "bool", "int",    "float",  "str",     "bytes", "tuple",
                                    "list", "dict", "global", "object", "storage", "tensor"};
  return kNames[size_t(k)];
}

class Interpreter {
 public:
  Interpreter(std::string_view bytes, const std::string& file, const std::string& where, uint64_t base) : in_(bytes, file, where, base) {}

  Pickle run() {
    for (;;) {
      in_.mark();
      const auto op = in_.number<uint8_t>("opcode");
      if (op == '.') break;
      step(op);
    }
    p_.root = pop();
    if (!stack_.empty()) in_.refuse("{} values left at STOP, expected one", stack_.size() + 1);
    p_.end = in_.at();
    p_.placeholders.assign(placeholders_.begin(), placeholders_.end());
    return std::move(p_);
  }

 private:
  // The stack of values, and marks in it.
  uint32_t add(PickleValue v) {
    if (p_.values.size() >= kValues) in_.refuse("more than {} values, expected fewer", kValues);
    p_.values.push_back(v);
    return uint32_t(p_.values.size() - 1);
  }
  void push(uint32_t id) {
    if (stack_.size() >= kEntries) in_.refuse("a stack of more than {} entries, expected fewer", kEntries);
    stack_.push_back(id);
  }
  void push(PickleValue v) { push(add(v)); }
  uint32_t pop() {
    if (stack_.size() <= floor()) in_.refuse("nothing on the stack, expected a value");
    const uint32_t id = stack_.back();
    stack_.pop_back();
    return id;
  }
  [[nodiscard]] size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  [[nodiscard]] uint32_t top() const {
    if (stack_.size() <= floor()) in_.refuse("nothing on the stack, expected a value");
    return stack_.back();
  }
  void open_mark() {
    if (marks_.size() >= kMarks) in_.refuse("more than {} levels, expected fewer", kMarks);
    marks_.push_back(stack_.size());
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) in_.refuse("no mark on the stack, expected one");
    std::vector<uint32_t> all(stack_.begin() + int64_t(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return all;
  }
  std::vector<uint32_t> pop_many(size_t n) {
    std::vector<uint32_t> all(n);
    while (n-- > 0) all[n] = pop();
    return all;
  }

  void push_number(Kind kind, int64_t x) { push({kind, 0, x, ""}); }
  void push_text(Kind kind, std::string_view s) { push({kind, 0, int64_t(s.size()), s.data()}); }
  void push_items(Kind kind, std::vector<uint32_t> list) {
    count_items(list.size());
    p_.items.push_back(std::move(list));
    push({kind, uint32_t(p_.items.size() - 1), 0, ""});
  }
  void count_items(size_t n) {
    if ((items_ += n) > kEntries) in_.refuse("more than {} items, expected fewer", kEntries);
  }
  /// The items of the list or dict under `id`; null for an object, which takes anything and keeps nothing.
  std::vector<uint32_t>* filled(uint32_t id, Kind kind) {
    const PickleValue& v = p_.values[id];
    if (v.kind == Kind::object) return nullptr;
    if (v.kind != kind) in_.refuse("items for a {}, expected a {}", name_of(v.kind), name_of(kind));
    return &p_.items[v.index];
  }
  void extend(uint32_t id, Kind kind, const std::vector<uint32_t>& more) {
    if (kind == Kind::dict && more.size() % 2) in_.refuse("{} items for a dict, expected pairs", more.size());
    count_items(more.size());
    if (auto* list = filled(id, kind)) list->insert(list->end(), more.begin(), more.end());
  }

  void push_global(PickleGlobal g) {
    p_.globals.push_back(g);
    push({Kind::global, uint32_t(p_.globals.size() - 1), 0, ""});
  }
  void push_object(uint32_t global) {
    list(p_.globals[global]);
    push({Kind::object, global, 0, ""});
  }
  void list(const PickleGlobal& g) {
    if (placeholders_.size() < 1000) placeholders_.insert(g.text());
  }
  const PickleValue& want(uint32_t id, Kind kind, const char* what) {
    const PickleValue& v = p_.values[id];
    if (v.kind != kind) in_.refuse("{} is a {}, expected a {}", what, name_of(v.kind), name_of(kind));
    return v;
  }
  std::vector<int64_t> whole_numbers(uint32_t id, const char* what) {
    std::vector<int64_t> list;
    for (uint32_t i : p_.items[want(id, Kind::tuple, what).index]) {
      list.push_back(want(i, Kind::integer, what).integer);
      if (list.back() < 0) in_.refuse("{} with {}, expected whole numbers from 0", what, list.back());
    }
    return list;
  }

  /// What a call would give: a value for the few callables of a state dict, a placeholder for any other. Nothing is called.
  void reduce(uint32_t callable, const std::vector<uint32_t>& args) {
    const PickleValue f = p_.values[callable];
    if (f.kind != Kind::global && f.kind != Kind::object) in_.refuse("a call of a {}, expected a global", name_of(f.kind));
    const PickleGlobal& g = p_.globals[f.index];
    if (f.kind == Kind::object) return push_object(f.index);
    if (g.is("collections", "OrderedDict") && args.empty()) return push_items(Kind::dict, {});
    if (g.is("torch", "Size") && args.size() == 1 && p_.values[args[0]].kind == Kind::tuple) return push(args[0]);
    if (g.is("torch._utils", "_rebuild_parameter") && !args.empty()) return push(args[0]);
    if (g.is("torch._utils", "_rebuild_tensor_v2")) return rebuild_tensor(args);
    push_object(f.index);
  }
  /// (storage, offset, size, stride, requires_grad, hooks[, metadata])
  void rebuild_tensor(const std::vector<uint32_t>& args) {
    if (args.size() < 4) in_.refuse("a tensor of {} parts, expected storage, offset, size and stride", args.size());
    const PickleValue& storage = want(args[0], Kind::storage, "a tensor's storage");
    PickleTensor t;
    t.storage = storage.index;
    t.offset = want(args[1], Kind::integer, "a tensor's offset").integer;
    if (t.offset < 0) in_.refuse("a tensor's offset with {}, expected whole numbers from 0", t.offset);
    t.shape = whole_numbers(args[2], "a tensor's size"), t.strides = whole_numbers(args[3], "a tensor's stride");
    if (t.shape.size() != t.strides.size() || t.shape.size() > kRank)
      in_.refuse("a tensor of {} sizes and {} strides, expected as many and at most {}", t.shape.size(), t.strides.size(), kRank);
    count_items(t.shape.size());
    if (!p_.storages[t.storage].known) {
      push({Kind::none, 0, 0, ""});
      return;
    }
    p_.tensors.push_back(std::move(t));
    push({Kind::tensor, uint32_t(p_.tensors.size() - 1), 0, ""});
  }
  /// ('storage', type, key, device, elements); older files add None.
  void persistent(uint32_t id) {
    const auto& tuple = p_.items[want(id, Kind::tuple, "a persistent id").index];
    if (tuple.size() != 5 && tuple.size() != 6) in_.refuse("a persistent id of {} parts, expected 5", tuple.size());
    if (want(tuple[0], Kind::text, "a persistent id's kind").view() != "storage")
      in_.refuse("a persistent id of {}, expected 'storage'", shown(p_.values[tuple[0]].view()));
    if (tuple.size() == 6 && p_.values[tuple[5]].kind != Kind::none)
      in_.refuse("a storage that is part of another, expected whole ones; write it anew with a later torch.save()");
    const PickleGlobal& type = p_.globals[want(tuple[1], Kind::global, "a storage's type").index];
    PickleStorage s;
    s.key = want(tuple[2], Kind::text, "a storage's key").view();
    s.elements = want(tuple[4], Kind::integer, "a storage's length").integer;
    if (s.elements < 0) in_.refuse("a storage of {} elements, expected whole numbers from 0", s.elements);
    const auto* known = std::find_if(std::begin(kStorages), std::end(kStorages), [&](const auto& k) { return type.is("torch", k.name); });
    s.known = known != std::end(kStorages);
    if (s.known) s.type = known->type;
    else list(type);
    p_.storages.push_back(s);
    push({Kind::storage, uint32_t(p_.storages.size() - 1), 0, ""});
  }

  void remember(uint64_t place) {
    if (place >= kEntries) in_.refuse("memo entry {}, expected fewer than {}", place, kEntries);
    const uint32_t id = top();
    if (memo_.size() <= place) memo_.resize(size_t(place) + 1, kNoMemo);
    memo_[size_t(place)] = id;
  }
  void recall(uint64_t place) {
    if (place >= memo_.size() || memo_[size_t(place)] == kNoMemo) in_.refuse("memo entry {}, expected one that was stored", place);
    push(memo_[size_t(place)]);
  }
  template <class T> std::string_view counted(const char* what) { return in_.take(in_.number<T>(what), what); }
  void push_long() {
    const std::string_view s = counted<uint8_t>("number");
    if (s.size() > 8) return push_text(Kind::bytes, s);  // nothing here needs a number as large
    uint64_t x = !s.empty() && (s.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = s.size(); i-- > 0;) x = x << 8 | static_cast<unsigned char>(s[i]);
    push_number(Kind::integer, int64_t(x));
  }
  void push_real() {
    const std::string_view s = in_.take(8, "number");
    uint64_t bits = 0;  // big-endian
    for (char c : s) bits = bits << 8 | static_cast<unsigned char>(c);
    push_number(Kind::real, std::bit_cast<int64_t>(bits));
  }
  void push_decimal() {
    const std::string_view s = in_.line("number");
    if (s == "00" || s == "01") return push_number(Kind::boolean, s == "01");
    const auto x = parse_integer(s.ends_with('L') ? s.substr(0, s.size() - 1) : s);
    if (!x) in_.refuse("{}, expected a whole number of 64 bits", shown(s));
    push_number(Kind::integer, *x);
  }

  void step(uint8_t op) {
    switch (op) {
      case 0x80:  // PROTO
        if (const auto n = in_.number<uint8_t>("protocol"); n > 5) in_.refuse("protocol {}, expected at most 5", n);
        return;
      case 0x95: return (void)in_.number<uint64_t>("frame");  // FRAME: only a hint for reading ahead
      case '(': return open_mark();
      case '0':  // POP takes a mark if that is the last thing
        if (!marks_.empty() && stack_.size() == marks_.back()) return marks_.pop_back();
        return (void)pop();
      case '1': return (void)pop_to_mark();
      case '2': return push(top());
      case 'N': return push_number(Kind::none, 0);
      case 0x88: return push_number(Kind::boolean, 1);
      case 0x89: return push_number(Kind::boolean, 0);
      case 'I':
      case 'L': return push_decimal();
      case 'J': return push_number(Kind::integer, int32_t(in_.number<uint32_t>("number")));
      case 'K': return push_number(Kind::integer, in_.number<uint8_t>("number"));
      case 'M': return push_number(Kind::integer, in_.number<uint16_t>("number"));
      case 0x8a: return push_long();
      case 'G': return push_real();
      case 'X': return push_text(Kind::text, counted<uint32_t>("text"));
      case 0x8c: return push_text(Kind::text, counted<uint8_t>("text"));
      case 0x8d: return push_text(Kind::text, counted<uint64_t>("text"));
      case 'T': return push_text(Kind::text, counted<uint32_t>("text"));  // Python 2's str
      case 'U': return push_text(Kind::text, counted<uint8_t>("text"));
      case 'V': return push_text(Kind::text, in_.line("text"));
      case 'B': return push_text(Kind::bytes, counted<uint32_t>("bytes"));
      case 'C': return push_text(Kind::bytes, counted<uint8_t>("bytes"));
      case 0x8e:
      case 0x96: return push_text(Kind::bytes, counted<uint64_t>("bytes"));
      case ')': return push_items(Kind::tuple, {});
      case 't': return push_items(Kind::tuple, pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87: return push_items(Kind::tuple, pop_many(op - 0x84u));
      case ']':
      case 0x8f: return push_items(Kind::list, {});  // a set is a list here
      case 'l':
      case 0x91: return push_items(Kind::list, pop_to_mark());
      case '}': return push_items(Kind::dict, {});
      case 'd': return push_dict(pop_to_mark());
      case 'a': return append(Kind::list, pop_many(1));
      case 'e':
      case 0x90: return append(Kind::list, pop_to_mark());
      case 's': return append(Kind::dict, pop_many(2));
      case 'u': return append(Kind::dict, pop_to_mark());
      case 'p': return remember(memo_place());
      case 'q': return remember(in_.number<uint8_t>("memo entry"));
      case 'r': return remember(in_.number<uint32_t>("memo entry"));
      case 0x94: return remember(memo_.size());
      case 'g': return recall(memo_place());
      case 'h': return recall(in_.number<uint8_t>("memo entry"));
      case 'j': return recall(in_.number<uint32_t>("memo entry"));
      default: return step_object(op);
    }
  }
  void push_dict(const std::vector<uint32_t>& pairs) {
    if (pairs.size() % 2) in_.refuse("{} items for a dict, expected pairs", pairs.size());
    push_items(Kind::dict, pairs);
  }
  void append(Kind kind, const std::vector<uint32_t>& more) { extend(top(), kind, more); }
  uint64_t memo_place() {
    const std::string_view s = in_.line("memo entry");
    const auto x = parse_integer(s);
    if (!x || *x < 0) in_.refuse("memo entry {}, expected a whole number from 0", shown(s));
    return uint64_t(*x);
  }
  PickleGlobal module_and_name() {
    const std::string_view module = in_.line("module");
    return {module, in_.line("name")};
  }
  /// Whatever would run, import or build something in Python.
  void step_object(uint8_t op) {
    switch (op) {
      case 'c': return push_global(module_and_name());
      case 0x93: {  // STACK_GLOBAL
        const uint32_t name = pop(), module = pop();
        return push_global({want(module, Kind::text, "a module").view(), want(name, Kind::text, "a name").view()});
      }
      case 'R':
      case 0x81: {  // REDUCE, NEWOBJ
        const uint32_t args = pop(), callable = pop();
        return reduce(callable, std::vector<uint32_t>(p_.items[want(args, Kind::tuple, "a call's arguments").index]));
      }
      case 0x92: {  // NEWOBJ_EX: class, arguments, keywords
        (void)pop(), (void)pop();
        return reduce(pop(), {});
      }
      case 'o': {  // OBJ: mark, class, arguments
        const auto all = pop_to_mark();
        if (all.empty()) in_.refuse("an object without a class, expected one");
        return reduce(all[0], {all.begin() + 1, all.end()});
      }
      case 'i': {  // INST
        push_global(module_and_name());
        const uint32_t callable = pop();
        return reduce(callable, pop_to_mark());
      }
      case 'b': return (void)pop(), (void)top();  // BUILD: an object's attributes are left aside
      case 'Q': return persistent(pop());
      default: in_.refuse("opcode 0x{:02x}, expected one of a state dict's", op);
    }
  }

  Cursor in_;
  Pickle p_;
  std::vector<uint32_t> stack_, memo_;
  std::vector<size_t> marks_;
  std::set<std::string> placeholders_;
  size_t items_ = 0;
};

}  // namespace

std::string PickleGlobal::text() const {
  const std::string whole = shown(std::string(module.substr(0, 200)) + "." + std::string(name.substr(0, 200)), 120);
  return whole.substr(1, whole.size() - 2);
}

Pickle read_pickle(std::string_view bytes, const std::string& file, const std::string& where, uint64_t base) {
  return Interpreter(bytes, file, where, base).run();
}

}  // namespace stflow
