#include "data/weights/torch_file.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "data/weights/cursor.h"
#include "data/weights/pickle.h"
#include "data/weights/zip.h"
#include "engine/text.h"

namespace stflow {
namespace {

using Kind = PickleValue::Kind;
using namespace std::string_view_literals;

/// torch.serialization.MAGIC_NUMBER, 0x1950a86a20f9469cfc6c, as protocol 2 pickles it.
constexpr std::string_view kMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;
constexpr const char* kAgain = "load it in Python and torch.save() it again";

constexpr int64_t kTensors = 20'000;  // the largest encoders have about a thousand

/// What frameworks wrap a state dict in.
constexpr std::string_view kWrappers[] = {"state_dict", "model_state_dict", "model",     "module",         "teacher", "student",
                                          "ema",        "model_ema",        "ema_model", "ema_state_dict", "net",     "network"};

/// Walks from the root of a pickle to its tensors.
class Flattener {
 public:
  Flattener(const Pickle& pickle, Weights& out, std::string where) : p_(pickle), out_(out), where_(std::move(where)) {}

  /// Calls take(name, tensor) for every tensor of the part that is wanted.
  void run(const std::string& part, const std::function<void(const std::string&, const PickleTensor&)>& take) {
    const auto roots = unwrap(p_.root, part);
    visited_ = 0;
    int64_t tensors = 0;
    for (const auto& [prefix, root] : roots)
      walk(root, prefix, 0, [&](const std::string& name, const PickleTensor& t) {
        if (++tensors > kTensors) refuse("more than {} tensors, expected fewer", kTensors);
        take(name, t);
      });
    if (tensors == 0)
      refuse("no tensor{}{}, expected a state dict; only tensors are read", p_.placeholders.empty() ? "" : "; needs ",
             listed(p_.placeholders, 3));
    for (const std::string& name : p_.placeholders) out_.note("object of " + name);
  }

 private:
  using Take = std::function<void(const std::string&, const PickleTensor&)>;
  template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) const {
    fail(Exit::data, "{}: {}: {}", out_.path(), where_, fmt::format(format, std::forward<A>(args)...));
  }

  void walk(uint32_t id, const std::string& name, int depth, const Take& take) {
    // A list may hold itself, or itself twice through others: what a few bytes unfold to is bounded here.
    if (depth > 64) refuse("more than 64 levels, expected fewer");
    if (++visited_ > 1'000'000) refuse("more than 1000000 values, expected fewer");
    if (name.size() > 1000) refuse("a name of more than 1000 bytes, expected a shorter one");
    const PickleValue& v = p_.value(id);
    auto joined = [&](std::string_view key) { return name.empty() ? std::string(key) : name + "." + std::string(key); };
    if (v.kind == Kind::tensor) return take(name, p_.tensors[v.index]);
    if (v.kind == Kind::dict) {
      const auto& items = p_.children(v);
      for (size_t i = 0; i < items.size(); i += 2)
        if (holds_items(items[i + 1])) walk(items[i + 1], joined(key_of(items[i])), depth + 1, take);
    } else if (v.kind == Kind::list || v.kind == Kind::tuple) {
      const auto& items = p_.children(v);
      for (size_t i = 0; i < items.size(); i++)
        if (holds_items(items[i])) walk(items[i], joined(std::to_string(i)), depth + 1, take);
    }
  }
  [[nodiscard]] bool holds_items(uint32_t id) const {
    const Kind k = p_.value(id).kind;
    return k == Kind::tensor || k == Kind::dict || k == Kind::list || k == Kind::tuple;
  }
  [[nodiscard]] std::string key_of(uint32_t id) const {
    const PickleValue& v = p_.value(id);
    if (v.kind == Kind::text) return std::string(v.view().substr(0, 1001));
    if (v.kind == Kind::integer || v.kind == Kind::boolean) return std::to_string(v.integer);
    refuse("a dictionary with a key that is no text, expected names");
  }

  int64_t tensors_in(uint32_t id) {
    int64_t n = 0;
    if (holds_items(id)) walk(id, "", 0, [&](const std::string&, const PickleTensor&) { n++; });
    return n;
  }

  /// Takes off the dictionaries around the state dict and notes what lay beside it. Several that are equally good stay, each with its name
  /// as a prefix: which is the network is not told by the file.
  std::map<std::string, uint32_t> unwrap(uint32_t id, const std::string& part) {
    bool found = part.empty();
    std::map<std::string, uint32_t> several;
    for (int level = 0; level < 8 && several.empty() && p_.value(id).kind == Kind::dict; level++) {
      std::map<std::string, uint32_t> parts;
      std::vector<std::pair<std::string, int64_t>> beside;
      if (!parts_of(id, part, parts, beside)) break;
      if (const auto named = parts.find(part); named != parts.end()) {
        for (const auto& [key, child] : parts)
          if (key != part) beside.emplace_back(key, tensors_in(child));
        id = named->second, found = true;
      } else if (parts.size() == 1) {
        id = parts.begin()->second;
      } else {
        several = parts;
      }
      for (const auto& [key, n] : beside)
        if (n > 0) out_.note(fmt::format("left aside {}: {} tensors", shown(key), n));
    }
    if (!found) refuse("no part {}, expected one that wraps tensors", shown(part));
    return several.empty() ? std::map<std::string, uint32_t>{{"", id}} : several;
  }
  /// The wrapped state dicts of a dictionary and, with their numbers of tensors, what lies beside them. False: there are none, or there are
  /// tensors right here.
  bool parts_of(uint32_t id, const std::string& part, std::map<std::string, uint32_t>& parts,
                std::vector<std::pair<std::string, int64_t>>& beside) {
    const auto& items = p_.children(p_.value(id));
    for (size_t i = 0; i < items.size(); i += 2)
      if (p_.value(items[i + 1]).kind == Kind::tensor) return false;
    for (size_t i = 0; i < items.size(); i += 2) {
      if (!holds_items(items[i + 1])) continue;
      const std::string key = key_of(items[i]);
      const bool wrapper = key == part || std::find(std::begin(kWrappers), std::end(kWrappers), key) != std::end(kWrappers);
      const int64_t n = tensors_in(items[i + 1]);
      if (wrapper && n > 0 && p_.value(items[i + 1]).kind == Kind::dict) parts[key] = items[i + 1];
      else beside.emplace_back(key, n);
    }
    return !parts.empty();
  }

  const Pickle& p_;
  Weights& out_;
  std::string where_;
  int64_t visited_ = 0;
};

/// Adds a tensor over `bytes`, the record of its storage, after proof that it lies in it.
void add_tensor(Weights& out, const std::string& name, const PickleTensor& t, Stored type, std::string_view bytes) {
  const auto width = uint64_t(bytes_of(type)), room = bytes.size() / width;
  StoredTensor s{name, type, t.shape, t.strides, reinterpret_cast<const unsigned char*>(bytes.data()), 1};
  auto refuse = [&](const std::string& why) {
    fail(Exit::data, "{}: tensor {}: {} {} at element {}: {}, expected it in its storage of {} bytes", out.path(), shown(name, 160),
         name_of(type), s.shape_text(), t.offset, why, bytes.size());
  };
  uint64_t elements = 1, last = uint64_t(t.offset), step = 0;
  const bool empty = std::find(t.shape.begin(), t.shape.end(), 0) != t.shape.end();
  for (size_t d = 0; d < t.shape.size() && !empty; d++) {
    if (!checked_mul(elements, uint64_t(t.shape[d]), elements) || elements > room) refuse("more elements than there are");
    if (!checked_mul(uint64_t(t.shape[d] - 1), uint64_t(t.strides[d]), step) || !checked_add(last, step, last)) refuse("strides overflow");
  }
  if (!empty && last >= room) refuse("ends outside");
  s.size = empty ? 0 : int64_t(elements);
  if (!empty) s.data += uint64_t(t.offset) * width;
  out.add(std::move(s));
}

}  // namespace

bool is_legacy_torch(std::string_view head) { return head.starts_with(kMagic); }

Weights read_torch_zip(std::shared_ptr<const FileView> file, const std::string& part) {
  Weights out(file->path(), "PyTorch zip");
  const ZipArchive zip(*file);
  const ZipRecord* pickled = nullptr;
  for (const ZipRecord& r : zip.records())
    if (r.name == "data.pkl" || r.name.ends_with("/data.pkl")) {
      if (pickled) fail(Exit::data, "{}: {} and {}, expected one data.pkl", out.path(), shown(pickled->name), shown(r.name));
      pickled = &r;
    }
  if (!pickled) fail(Exit::data, "{}: a zip archive without data.pkl, expected a checkpoint of PyTorch", out.path());
  const std::string folder(pickled->name.substr(0, pickled->name.size() - "data.pkl"sv.size())), where = folder + "data.pkl";
  if (const ZipRecord* order = zip.find(folder + "byteorder"); order && order->bytes != "little")
    fail(Exit::data, "{}: byteorder: {}, expected little", out.path(), shown(order->bytes));
  if (zip.find(folder + "constants.pkl"))
    fail(Exit::data, "{}: constants.pkl: a TorchScript program, expected a state dict: save model.state_dict() instead", out.path());
  zip.verify(*pickled);
  const std::string place = shown(where).substr(1, shown(where).size() - 2);
  const Pickle pickle = read_pickle(pickled->bytes, out.path(), place + ": ");
  if (pickle.end != pickled->bytes.size())
    fail(Exit::data, "{}: {}: byte {}: {} bytes after STOP, expected its end", out.path(), place, pickle.end,
         pickled->bytes.size() - pickle.end);
  Flattener(pickle, out, place).run(part, [&](const std::string& name, const PickleTensor& t) {
    const PickleStorage& storage = pickle.storages[t.storage];
    const ZipRecord* record = zip.find(folder + "data/" + std::string(storage.key));
    if (!record) fail(Exit::data, "{}: tensor {}: no record data/{}, expected its storage", out.path(), shown(name), shown(storage.key));
    add_tensor(out, name, t, storage.type, record->bytes);
  });
  out.keep(std::move(file));
  return out;
}

Weights read_torch_legacy(std::shared_ptr<const FileView> file, const std::string& part) {
  Weights out(file->path(), "PyTorch before 1.6");
  const std::string_view all = file->text();
  size_t at = kMagic.size();
  auto next = [&] {
    Pickle p = read_pickle(all.substr(at), out.path(), "", at);
    at += p.end;
    return p;
  };
  const Pickle protocol = next();
  if (protocol.value(protocol.root).kind != Kind::integer || protocol.value(protocol.root).integer != 1001)
    fail(Exit::data, "{}: byte {}: another protocol of torch.save(), expected 1001; {}", out.path(), kMagic.size(), kAgain);
  const Pickle system = next();
  if (const PickleValue& v = system.value(system.root); v.kind == Kind::dict)
    for (size_t i = 0; i < system.children(v).size(); i += 2) {
      const PickleValue &key = system.value(system.children(v)[i]), &value = system.value(system.children(v)[i + 1]);
      if (key.kind == Kind::text && key.view() == "little_endian" && value.integer != 1)
        fail(Exit::data, "{}: big-endian numbers, expected little-endian ones; {}", out.path(), kAgain);
    }
  const Pickle pickle = next();
  const size_t keys_at = at;
  const Pickle keys = next();
  if (keys.value(keys.root).kind != Kind::list) fail(Exit::data, "{}: byte {}: no list of storages, expected one", out.path(), keys_at);
  std::map<std::string_view, const PickleStorage*> storages;
  for (const PickleStorage& s : pickle.storages) storages[s.key] = &s;
  std::map<std::string_view, std::string_view> records;
  Cursor data(all, out.path());
  data.seek(at);
  for (uint32_t id : keys.children(keys.value(keys.root))) {
    data.mark();
    const PickleValue& key = keys.value(id);
    const auto storage = key.kind == Kind::text ? storages.find(key.view()) : storages.end();
    if (storage == storages.end()) data.refuse("a storage that no tensor names, expected one of {}", storages.size());
    if (!storage->second->known) data.refuse("a storage of numbers that are not known here, expected floats or integers; {}", kAgain);
    uint64_t bytes = 0;
    const auto elements = data.number<uint64_t>("storage");
    if (!checked_mul(elements, uint64_t(bytes_of(storage->second->type)), bytes))
      data.refuse("a storage of {} elements, expected fewer", elements);
    if (!records.emplace(key.view(), data.take(bytes, "storage")).second)
      data.refuse("storage {} a second time, expected each once", shown(key.view()));
  }
  data.mark();
  if (data.left() > 0) data.refuse("{} bytes after the last storage, expected the end of the file", data.left());
  Flattener(pickle, out, "state dict").run(part, [&](const std::string& name, const PickleTensor& t) {
    const PickleStorage& storage = pickle.storages[t.storage];
    const auto record = records.find(storage.key);
    if (record == records.end()) fail(Exit::data, "{}: tensor {}: no storage {}, expected it", out.path(), shown(name), shown(storage.key));
    if (storage.type != storages[storage.key]->type)
      fail(Exit::data, "{}: tensor {}: storage {} of two types, expected one", out.path(), shown(name), shown(storage.key));
    add_tensor(out, name, t, storage.type, record->second);
  });
  out.keep(std::move(file));
  return out;
}

void verify_torch_zip(const std::string& path) {
  const FileView file(path);
  const ZipArchive zip(file);
  for (const ZipRecord& r : zip.records()) zip.verify(r);
}

}  // namespace stflow
