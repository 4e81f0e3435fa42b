#include "tests/disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "engine/random.h"
#include "tests/run.h"

namespace stflow::test {
namespace {

namespace fs = std::filesystem;

DiskRecord* record = nullptr;

constexpr size_t kSector = 512;

struct File {
  std::string now, flushed;
  std::vector<DiskCall> since;  // parts of writes and changes of size behind the last flush
};

void apply(const DiskCall& c, std::string& bytes) {
  if (c.kind == DiskCall::resize || bytes.size() < c.at + c.bytes.size()) bytes.resize(c.at + c.bytes.size());
  bytes.replace(c.at, c.bytes.size(), c.bytes);
}

// What of a call is there or not by itself: each sector of a write.
std::vector<DiskCall> parts(const DiskCall& c) {
  if (c.kind == DiskCall::resize) return {c};
  std::vector<DiskCall> sectors;
  for (size_t at = 0, n; at < c.bytes.size(); at += n) {
    n = std::min(kSector - (c.at + at) % kSector, c.bytes.size() - at);
    sectors.push_back({c.kind, c.name, "", c.at + at, c.bytes.substr(at, n)});
  }
  return sectors;
}

using Names = std::map<std::string, std::shared_ptr<File>>;

struct NameChange {
  std::string from, to;  // a creation has no `from`, a removal no `to`
  std::shared_ptr<File> file;
};

void apply(const NameChange& c, Names& names) {
  if (!c.from.empty()) names.erase(c.from);
  if (!c.to.empty()) names[c.to] = c.file;
}

}  // namespace

DiskRecord::DiskRecord(const std::string& folder) : folder_(fs::canonical(folder).string()) { record = this; }
DiskRecord::~DiskRecord() { record = nullptr; }

std::string DiskRecord::name_of(const std::string& path) const {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  if (whole == folder_) return ".";
  return whole.parent_path() == folder_ ? whole.filename().string() : "";
}

Files files_of(const std::string& folder) {
  Files files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename().string()] = read_file(entry.path().string());
  return files;
}

Files after_power_loss(const Files& before, std::span<const DiskCall> calls, uint32_t seed) {
  Names now, flushed;
  for (const auto& [name, bytes] : before) now[name] = std::make_shared<File>(File{bytes, bytes, {}});
  flushed = now;
  std::vector<NameChange> since;  // behind the folder's last flush
  const auto change = [&](const NameChange& c) { since.push_back(c), apply(c, now); };
  for (const DiskCall& c : calls) {
    if (c.kind == DiskCall::sync_folder) flushed = now, since.clear();
    else if (c.kind == DiskCall::rename) change({c.name, c.to, now.at(c.name)});
    else if (c.kind == DiskCall::remove) change({c.name, "", nullptr});
    else {
      if (!now.contains(c.name)) change({"", c.name, std::make_shared<File>()});
      File& file = *now.at(c.name);
      if (c.kind == DiskCall::sync) file.flushed = file.now, file.since.clear();
      else {
        apply(c, file.now);
        for (DiskCall& part : parts(c)) file.since.push_back(std::move(part));
      }
    }
  }
  uint32_t draws = 0;
  const auto uniform = [&] {
    const Philox4 r = RandomKey(seed, Stream::item, uint32_t(calls.size()), 0).draw(draws++);
    return open01(r.v[0], r.v[1]);
  };
  const double names_kept = uniform(), bytes_kept = uniform();
  for (const NameChange& c : since)
    if (uniform() < names_kept) apply(c, flushed);
  Files left;
  for (const auto& [name, file] : flushed) {
    std::string bytes = file->flushed;
    for (const DiskCall& c : file->since)
      if (uniform() < bytes_kept) apply(c, bytes);
    left[name] = bytes;
  }
  return left;
}

}  // namespace stflow::test

// The whole test program's: the only way to see what reaches the disk, and when.
namespace {

using stflow::test::DiskCall;
using stflow::test::record;

template <class F> F* real(const char* name) { return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name)); }

void note(DiskCall::Kind kind, const std::string& path, const std::string& to, off_t at, std::string bytes) {
  const std::string name = record->name_of(path);
  if (name.empty()) return;
  if (name == ".") kind = DiskCall::sync_folder;
  record->add({kind, name, to.empty() ? "" : record->name_of(to), uint64_t(at), std::move(bytes)});
}

void note(DiskCall::Kind kind, int fd, off_t at = 0, std::string bytes = {}) {
  std::error_code error;
  note(kind, std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error).string(), "", at, std::move(bytes));
}

}  // namespace

ssize_t write(int fd, const void* data, size_t bytes) {
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  const ssize_t n = next(fd, data, bytes);
  if (record && n > 0) note(DiskCall::write, fd, lseek(fd, 0, SEEK_CUR) - n, {static_cast<const char*>(data), size_t(n)});
  return n;
}
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
  static auto* const next = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  const ssize_t n = next(fd, data, bytes, at);
  if (record && n > 0) note(DiskCall::write, fd, at, {static_cast<const char*>(data), size_t(n)});
  return n;
}
int ftruncate(int fd, off_t bytes) noexcept {
  static auto* const next = real<int(int, off_t)>("ftruncate");
  const int result = next(fd, bytes);
  if (record && result == 0) note(DiskCall::resize, fd, bytes);
  return result;
}
int posix_fallocate(int fd, off_t at, off_t bytes) {
  static auto* const next = real<int(int, off_t, off_t)>("posix_fallocate");
  const int result = next(fd, at, bytes);
  struct stat after {};
  if (record && result == 0 && fstat(fd, &after) == 0) note(DiskCall::resize, fd, after.st_size);
  return result;
}
int fsync(int fd) {
  static auto* const next = real<int(int)>("fsync");
  const int result = next(fd);
  if (record && result == 0) note(DiskCall::sync, fd);
  return result;
}
int rename(const char* from, const char* to) noexcept {
  static auto* const next = real<int(const char*, const char*)>("rename");
  const int result = next(from, to);
  if (record && result == 0) note(DiskCall::rename, from, to, 0, {});
  return result;
}
int unlink(const char* path) noexcept {
  static auto* const next = real<int(const char*)>("unlink");
  const int result = next(path);
  if (record && result == 0) note(DiskCall::remove, path, "", 0, {});
  return result;
}
int remove(const char* path) noexcept {  // std::filesystem's
  static auto* const next = real<int(const char*)>("remove");
  const int result = next(path);
  if (record && result == 0) note(DiskCall::remove, path, "", 0, {});
  return result;
}
