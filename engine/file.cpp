#include "engine/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace stflow {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

/// A file descriptor that closes itself.
struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

}  // namespace

FileView::FileView(const std::string& path) : path_(path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) fail(Exit::missing, "{}: {}, expected a readable file", path, text_of(errno));
  struct stat s {};
  if (::fstat(file.fd, &s) != 0) fail(Exit::missing, "{}: {}, expected a readable file", path, text_of(errno));
  if (!S_ISREG(s.st_mode)) fail(Exit::missing, "{}: {}, expected a regular file", path, S_ISDIR(s.st_mode) ? "a folder" : "a special file");
  size_ = size_t(s.st_size);
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (map == MAP_FAILED) fail(Exit::missing, "{}: {}, expected a readable file", path, text_of(errno));
  data_ = static_cast<const unsigned char*>(map);
  mapped_ = true;
}

FileView::FileView(std::string name, std::string_view bytes)
    : path_(std::move(name)), data_(reinterpret_cast<const unsigned char*>(bytes.data())), size_(bytes.size()) {}

FileView::FileView(FileView&& o) noexcept
    : path_(std::move(o.path_)),
      data_(std::exchange(o.data_, nullptr)),
      size_(std::exchange(o.size_, 0)),
      mapped_(std::exchange(o.mapped_, false)) {}

FileView& FileView::operator=(FileView&& o) noexcept {
  std::swap(path_, o.path_), std::swap(data_, o.data_), std::swap(size_, o.size_), std::swap(mapped_, o.mapped_);
  return *this;
}

FileView::~FileView() {
  if (mapped_) ::munmap(const_cast<unsigned char*>(data_), size_);
}

void FileView::forget(const unsigned char* from, size_t bytes) const {
  if (!mapped_) return;
  const auto page = size_t(::sysconf(_SC_PAGESIZE)), begin = (size_t(from - data_) + page - 1) / page * page,
             end = (size_t(from - data_) + bytes) / page * page;
  if (end > begin) ::madvise(const_cast<unsigned char*>(data_) + begin, end - begin, MADV_DONTNEED);
}

std::string read_text(const std::string& path, size_t limit) {
  FileView file(path);
  if (file.size() > limit) fail(Exit::data, "{}: {} bytes, expected at most {}", path, file.size(), limit);
  return std::string(file.text());
}

std::string_view sniff(std::string_view head) {
  using namespace std::string_view_literals;
  if (head.empty()) return "empty"sv;
  if (head.starts_with("version https://git-lfs.github.com/spec/"sv)) return "a Git LFS pointer, not the data"sv;
  if (head.starts_with("PK\x03\x04"sv)) return "a zip archive (PyTorch .pth?)"sv;
  if (head.starts_with("\x1f\x8b"sv)) return "gzip data"sv;
  if (head.starts_with("\x89HDF\r\n\x1a\n"sv)) return "an HDF5 file"sv;
  if (head.starts_with("\x89PNG\r\n\x1a\n"sv)) return "a PNG image"sv;
  if (head.starts_with("\xff\xd8\xff"sv)) return "a JPEG image"sv;
  if (head.starts_with("II*\0"sv) || head.starts_with("MM\0*"sv) || head.starts_with("II+\0"sv) || head.starts_with("MM\0+"sv))
    return "a TIFF image"sv;
  size_t start = head.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return {};
  std::string word(head.substr(start, 14));
  std::transform(word.begin(), word.end(), word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (word.starts_with("<!doctype html") || word.starts_with("<html")) return "an HTML page"sv;
  return {};
}

std::string folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

FileWriter::FileWriter(const std::string& path, uint64_t bytes) : path_(path), partial_(path + ".partial"), expected_(bytes) {
  struct stat opened {
  }, named{};
  if (::stat(path.c_str(), &named) == 0 && S_ISDIR(named.st_mode)) fail(Exit::create, "{}: a folder, expected a file name", path);
  // The lock is on the inode: between open and flock another writer may have renamed it, then start again.
  for (;;) {
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) fail(Exit::create, "{}: {}, expected a place to write", path, text_of(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd_);
      fd_ = -1;
      fail(Exit::create, "{}: another process is writing it, expected to be alone", path);
    }
    if (::fstat(fd_, &opened) == 0 && ::stat(partial_.c_str(), &named) == 0 && same_file(opened, named)) break;
    ::close(fd_);
  }
  int error = ::ftruncate(fd_, 0) != 0 ? errno : 0;
  if (error == 0 && bytes > 0) error = ::posix_fallocate(fd_, 0, off_t(bytes));
  if (error == EOPNOTSUPP || error == EINVAL) error = 0;  // a file system that cannot reserve
  if (error == 0) return;
  ::close(fd_);  // a throwing constructor runs no destructor
  refuse("reserving", error);
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::unlink(partial_.c_str());
  ::close(fd_);
}

void FileWriter::refuse(const char* doing, int error) const {
  struct statvfs s {};
  uint64_t available = ::statvfs(folder_of(path_).c_str(), &s) == 0 ? uint64_t(s.f_bavail) * s.f_frsize : 0;
  ::unlink(partial_.c_str());
  fail(Exit::io, "{}: {} {} bytes: {}, {} bytes free", path_, doing, std::max(expected_, written_), text_of(error), available);
}

void FileWriter::write(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  written_ += bytes;
  while (bytes > 0) {
    ssize_t n = ::write(fd_, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) refuse("writing", n < 0 ? errno : EIO);
    p += n, bytes -= size_t(n);
  }
}

void FileWriter::rewrite(uint64_t at, std::string_view bytes) {
  check(at + bytes.size() <= written_, "{}: bytes {} + {} of {}", path_, at, bytes.size(), written_);
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), off_t(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) refuse("writing", n < 0 ? errno : EIO);
    bytes.remove_prefix(size_t(n)), at += uint64_t(n);
  }
}

void FileWriter::commit() {
  if (expected_ > written_ && ::ftruncate(fd_, off_t(written_)) != 0) refuse("writing", errno);
  if (::fsync(fd_) != 0) refuse("flushing", errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) refuse("renaming", errno);
  int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) refuse("closing", errno);
  Descriptor folder(::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd < 0 || (::fsync(folder.fd) != 0 && errno != EINVAL)) refuse("flushing the folder after", errno);
}

void write_atomic(const std::string& path, std::string_view content) {
  FileWriter file(path, content.size());
  file.write(content);
  file.commit();
}

void make_output_folder(const std::string& path) {
  std::error_code error;
  auto there = std::filesystem::status(path, error);
  if (std::filesystem::exists(there) && !std::filesystem::is_directory(there))
    fail(Exit::create, "{}: a file, expected an output folder", path);
  std::filesystem::create_directories(path, error);
  if (error) fail(Exit::create, "{}: {}, expected an output folder", path, error.message());
  std::string probe = path + "/.stflow-probe";
  Descriptor file(::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  if (file.fd < 0) fail(Exit::create, "{}: {}, expected a folder to write into", path, text_of(errno));
  ::unlink(probe.c_str());
}

}  // namespace stflow
