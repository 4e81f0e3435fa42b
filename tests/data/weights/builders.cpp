#include "tests/data/weights/builders.h"

#include <zlib.h>

namespace stflow::test {

std::string little(uint64_t x, int bytes) {
  std::string s;
  for (int i = 0; i < bytes; i++) s += i < 8 ? char(x >> (8 * i) & 255) : '\0';
  return s;
}

std::string zip(const std::vector<ZipPart>& parts, bool large) {
  std::string all, directory;
  for (const ZipPart& p : parts) {
    const uint64_t at = all.size(), n = p.bytes.size(), crc = crc32(0, reinterpret_cast<const Bytef*>(p.bytes.data()), uInt(n));
    const std::string& local = p.local_name.empty() ? p.name : p.local_name;
    const std::string start = little(p.flags, 2) + little(p.method, 2) + little(0, 4) + little(crc, 4);
    const std::string sizes = large ? std::string(8, '\xff') : little(n, 4) + little(n, 4);
    const std::string extra = large ? little(1, 2) + little(24, 2) + little(n, 8) + little(n, 8) + little(at, 8) : "";
    all += "PK\x03\x04" + little(20, 2) + start + sizes + little(local.size(), 2) + little(extra.size(), 2) + local + extra + p.bytes;
    directory += "PK\x01\x02" + little(20, 4) + start + sizes + little(p.name.size(), 2) + little(extra.size(), 2) + little(0, 10) +
                 little(large ? 0xffffffff : at, 4) + p.name + extra;
  }
  const uint64_t at = all.size(), n = parts.size();
  all += directory;
  if (large) {
    const uint64_t end = all.size();
    all += "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) + little(n, 8) + little(n, 8) +
           little(directory.size(), 8) + little(at, 8);
    all += "PK\x06\x07" + little(0, 4) + little(end, 8) + little(1, 4);
  }
  return all + "PK\x05\x06" + little(0, 4) + little(large ? 0xffff : n, 2) + little(large ? 0xffff : n, 2) +
         little(large ? 0xffffffff : directory.size(), 4) + little(large ? 0xffffffff : at, 4) + little(0, 2);
}

std::string torch_zip(const std::string& pickle, const std::vector<std::string>& storages) {
  std::vector<ZipPart> parts{{"a/data.pkl", pickle}, {"a/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); i++) parts.push_back({"a/data/" + std::to_string(i), storages[i]});
  return zip(parts);
}

std::string text(const std::string& s) { return "X" + little(s.size(), 4) + s; }
std::string whole(int64_t x) { return "\x8a\x08" + little(uint64_t(x), 8); }

std::string tuple(const std::vector<std::string>& items) {
  std::string s = "(";
  for (const auto& i : items) s += i;
  return s + "t";
}

std::string numbers(const std::vector<int64_t>& list) {
  std::vector<std::string> items;
  for (int64_t x : list) items.push_back(whole(x));
  return tuple(items);
}

std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string s = "}(";
  for (const auto& [key, value] : items) s += text(key) + value;
  return s + "u";
}

std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
std::string call(const std::string& callable, const std::vector<std::string>& arguments) { return callable + tuple(arguments) + "R"; }

std::string storage(const std::string& key, const std::string& type, int64_t elements) {
  return tuple({text("storage"), global("torch", type + "Storage"), text(key), text("cpu"), whole(elements)}) + "Q";
}

std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {storage, whole(offset), numbers(shape), numbers(strides), "\x89", call(global("collections", "OrderedDict"), {})});
}

std::string pickled(const std::string& value) { return "\x80\x02" + value + "."; }

std::string legacy(const std::string& value, const std::vector<std::string>& keys, const std::string& data) {
  std::string list = "](";
  for (const auto& k : keys) list += text(k);
  return std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") + pickled(whole(1001)) +
         pickled("}(" + text("little_endian") + "\x88u") + pickled(value) + pickled(list + "e") + data;
}

}  // namespace stflow::test
