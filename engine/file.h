// Files: how bytes enter the program (a read-only map) and how they leave it (all or nothing).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace stflow {

/// A whole file as a read-only memory map. The file must not shrink while it is mapped.
class FileView {
 public:
  /// Throws Exit::missing if `path` does not exist, is a folder or cannot be read.
  explicit FileView(const std::string& path);
  /// Bytes in memory that outlive the view, under a name for messages: what a fuzzer feeds a reader with.
  FileView(std::string name, std::string_view bytes);
  FileView(FileView&& o) noexcept;
  FileView& operator=(FileView&& o) noexcept;
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;
  ~FileView();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] const unsigned char* data() const { return data_; }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  /// The pages within these bytes leave this process's memory; they are read again if they are looked at again.
  void forget(const unsigned char* from, size_t bytes) const;

 private:
  std::string path_;
  const unsigned char* data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
};

/// The content of a small text file. Throws Exit::missing as FileView does, Exit::data if it is larger than `limit` bytes.
std::string read_text(const std::string& path, size_t limit = size_t(64) << 20);

/// What a file really is when it is not what its name says: "a Git LFS pointer, not the data", "an HTML page",
/// "a zip archive (PyTorch .pth?)", "gzip data", "an HDF5 file", "a PNG image", "a JPEG image", "a TIFF image", "empty";
/// an empty string for anything else. Judged from the first bytes, never from the name.
std::string_view sniff(std::string_view head);

/// Writes `path` through `path`.partial in the same folder: commit() flushes to the disk, renames and flushes the folder,
/// so the old file or the whole new one is there after any crash. Without commit() the partial file is removed.
/// Throws Exit::create if the file cannot be made (or another process is writing it), Exit::io if the disk refuses bytes;
/// the line names the path, the bytes needed and the bytes free.
class FileWriter {
 public:
  /// `bytes`: the final size where it is known, reserved at once so that a full disk shows before the first byte; else 0.
  explicit FileWriter(const std::string& path, uint64_t bytes = 0);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Replaces bytes that have been written.
  void rewrite(uint64_t at, std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void refuse(const char* doing, int error) const;

  std::string path_, partial_;
  uint64_t expected_, written_ = 0;
  int fd_ = -1;
};

/// Writes the whole file atomically; see FileWriter.
void write_atomic(const std::string& path, std::string_view content);

/// Makes `path` and its parents where they are missing and proves that files can be written there: called before any work.
/// Throws Exit::create.
void make_output_folder(const std::string& path);

/// The folder of `path` ("." if it names none).
std::string folder_of(const std::string& path);

}  // namespace stflow
