#include "data/weights/zip.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "data/weights/cursor.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint64_t kRecords = 1'000'000;

/// Where the directory is and how many records it has.
struct Directory {
  uint64_t at = 0, bytes = 0, records = 0;
};

Directory find_directory(const FileView& file) {
  const std::string_view all = file.text();
  constexpr size_t kTail = 22;  // bytes of the end record without its comment
  const size_t lowest = all.size() < kTail + 65535 ? 0 : all.size() - kTail - 65535;
  Cursor c(all, file.path());
  // The comment at the end may hold what looks like an end record: the length of its own comment tells the real one.
  for (size_t at = all.rfind("PK\x05\x06"); at != std::string_view::npos && at >= lowest;
       at = at == 0 ? at - 1 : all.rfind("PK\x05\x06", at - 1)) {
    c.seek(at + 20);
    if (c.left() < 2 || c.number<uint16_t>("comment") != all.size() - at - kTail) continue;
    c.seek(at), c.mark(), c.seek(at + 4);
    const auto disk = c.number<uint16_t>("disk"), first = c.number<uint16_t>("disk"), here = c.number<uint16_t>("records"),
               total = c.number<uint16_t>("records");
    Directory d;
    d.records = total, d.bytes = c.number<uint32_t>("directory"), d.at = c.number<uint32_t>("directory");
    if (disk != 0 || first != 0 || here != total) c.refuse("an archive in several parts, expected one file");
    if (total == 0xffff || d.bytes == 0xffffffff || d.at == 0xffffffff || (at >= 20 && all.substr(at - 20, 4) == "PK\x06\x07")) {
      if (at < 20) c.refuse("no zip64 locator before it, expected one");
      c.seek(at - 20), c.mark();
      if (c.number<uint32_t>("locator") != kLocator64) c.refuse("no zip64 locator, expected one");
      (void)c.number<uint32_t>("disk");
      const auto end64 = c.number<uint64_t>("zip64 end record");
      if (end64 > at - 20 || at - 20 - end64 < 56) c.refuse("zip64 end record at byte {}, expected it before its locator", end64);
      c.seek(size_t(end64)), c.mark();
      if (c.number<uint32_t>("zip64 end record") != kEnd64) c.refuse("no zip64 end record, expected one");
      c.seek(size_t(end64) + 24);
      const auto here64 = c.number<uint64_t>("records");
      d.records = c.number<uint64_t>("records"), d.bytes = c.number<uint64_t>("directory"), d.at = c.number<uint64_t>("directory");
      if (here64 != d.records) c.refuse("an archive in several parts, expected one file");
    }
    uint64_t end = 0;
    if (!checked_add(d.at, d.bytes, end) || end > at)
      c.refuse("directory of {} bytes at byte {}, expected it before its end record", d.bytes, d.at);
    if (d.records > kRecords || d.records * 46 > d.bytes) c.refuse("{} records in {} bytes, expected fewer", d.records, d.bytes);
    return d;
  }
  fail(Exit::data, "{}: byte {}: no end of a zip directory, expected one: truncated?", file.path(), all.size());
}

/// Sizes and place of a record as the directory tells them, with their 64-bit forms from the extra field.
struct Entry {
  std::string_view name;
  uint64_t size = 0, stored = 0, header = 0;
  uint32_t crc = 0;
  uint16_t flags = 0, method = 0;
};

void read_extra(Cursor& c, std::string_view extra, Entry& e) {
  size_t at = 0;
  auto number = [&](size_t bytes, size_t place) {
    uint64_t x = 0;
    for (size_t i = bytes; i-- > 0;) x = x << 8 | static_cast<unsigned char>(extra[place + i]);
    return x;
  };
  while (extra.size() - at >= 4) {
    const uint64_t id = number(2, at), length = number(2, at + 2);
    at += 4;
    if (length > extra.size() - at) c.refuse("extra field of {} bytes, expected at most {}", length, extra.size() - at);
    if (id == 1) {
      size_t place = at;
      for (uint64_t* x : {&e.size, &e.stored, &e.header})
        if (*x == 0xffffffff) {
          if (place + 8 > at + length) c.refuse("a zip64 field of {} bytes, expected 8 for each large number", length);
          *x = number(8, place), place += 8;
        }
    }
    at += size_t(length);
  }
}

Entry read_entry(Cursor& c) {
  c.mark();
  Entry e;
  if (c.number<uint32_t>("record") != kCentral) c.refuse("no record of the directory, expected one");
  (void)c.number<uint32_t>("versions");
  e.flags = c.number<uint16_t>("flags"), e.method = c.number<uint16_t>("method");
  (void)c.number<uint32_t>("time");
  e.crc = c.number<uint32_t>("crc"), e.stored = c.number<uint32_t>("size"), e.size = c.number<uint32_t>("size");
  const auto name = c.number<uint16_t>("name"), extra = c.number<uint16_t>("extra field"), comment = c.number<uint16_t>("comment");
  (void)c.take(8, "attributes");
  e.header = c.number<uint32_t>("place");
  e.name = c.take(name, "name");
  read_extra(c, c.take(extra, "extra field"), e);
  (void)c.take(comment, "comment");
  if (e.flags & 1) c.refuse("record {} is encrypted, expected plain bytes", shown(e.name));
  if (e.method != 0)
    c.refuse("record {} is compressed (method {}), expected stored bytes as torch.save() writes them", shown(e.name), e.method);
  if (e.size != e.stored) c.refuse("record {} has {} bytes stored as {}, expected the same", shown(e.name), e.size, e.stored);
  return e;
}

/// The record's bytes, after its local header was compared with the directory's entry.
std::string_view data_of(Cursor c, const Entry& e, uint64_t directory) {
  c.seek(size_t(e.header)), c.mark();
  if (c.number<uint32_t>("header") != kLocal) c.refuse("no header of record {}, expected one", shown(e.name));
  (void)c.number<uint16_t>("version");
  const auto flags = c.number<uint16_t>("flags"), method = c.number<uint16_t>("method");
  (void)c.number<uint32_t>("time");
  const auto crc = c.number<uint32_t>("crc"), stored = c.number<uint32_t>("size"), size = c.number<uint32_t>("size");
  const auto name = c.number<uint16_t>("name"), extra = c.number<uint16_t>("extra field");
  // Written as a stream (bit 3), sizes follow the data; large ones are in the extra field.
  auto same = [&](uint32_t local, uint64_t central) { return local == central || local == 0xffffffff || ((flags & 8) && local == 0); };
  if (c.take(name, "name") != e.name || flags != e.flags || method != e.method || !same(crc, e.crc) || !same(stored, e.stored) ||
      !same(size, e.size))
    c.refuse("the header of record {} differs from the directory, expected the same", shown(e.name));
  (void)c.take(extra, "extra field");
  if (c.at() > directory || e.size > directory - c.at())
    c.refuse("record {} of {} bytes, expected its end before the directory", shown(e.name), e.size);
  return c.take(e.size, "record");
}

}  // namespace

ZipArchive::ZipArchive(const FileView& file) : path_(file.path()) {
  const Directory d = find_directory(file);
  Cursor c(file.text().substr(0, size_t(d.at + d.bytes)), path_);
  const Cursor whole(file.text(), path_);
  c.seek(size_t(d.at));
  for (uint64_t i = 0; i < d.records; i++) {
    const Entry e = read_entry(c);
    if (e.header > d.at || d.at - e.header < 30)
      c.refuse("record {} at byte {}, expected it before the directory", shown(e.name), e.header);
    if (!index_.emplace(e.name, records_.size()).second) c.refuse("record {} a second time, expected each name once", shown(e.name));
    records_.push_back({e.name, data_of(whole, e, d.at), e.crc});
  }
  std::vector<const ZipRecord*> order;
  for (const ZipRecord& r : records_) order.push_back(&r);
  std::sort(order.begin(), order.end(), [](const ZipRecord* a, const ZipRecord* b) { return a->bytes.data() < b->bytes.data(); });
  for (size_t i = 1; i < order.size(); i++)
    if (order[i - 1]->bytes.data() + order[i - 1]->bytes.size() > order[i]->bytes.data())
      fail(Exit::data, "{}: byte {}: record {} lies over {}, expected one after another", path_,
           order[i]->bytes.data() - file.text().data(), shown(order[i]->name), shown(order[i - 1]->name));
}

const ZipRecord* ZipArchive::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &records_[found->second];
}

void ZipArchive::verify(const ZipRecord& record) const {
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // a fuzzer's mutants would test the checksum only
  const auto* bytes = reinterpret_cast<const unsigned char*>(record.bytes.data());
  const auto crc = uint32_t(crc32_z(0, bytes, record.bytes.size()));
  if (crc != record.crc)
    fail(Exit::data, "{}: {}: CRC {:08x}, expected {:08x}: the file is damaged", path_, shown(record.name), crc, record.crc);
#else
  (void)record;
#endif
}

}  // namespace stflow
