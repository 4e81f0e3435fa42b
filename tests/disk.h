// What a power loss may leave. The calls by which the program writes are recorded, and played up to any point onto a disk that keeps what
// was flushed and, of the rest, whatever it likes.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace stflow::test {

/// A successful call on a file of the recorded folder, or the flush of the folder itself.
struct DiskCall {
  enum Kind { resize, write, sync, sync_folder, rename, remove } kind;
  std::string name, to;  // in the folder; `to`: of a rename
  uint64_t at = 0;       // resize: the new size; write: the place
  std::string bytes;     // write
};

/// Records, while it lives, this process's calls on files of one folder (not of folders below it). One at a time; the program must
/// write from the thread that made the record.
class DiskRecord {
 public:
  explicit DiskRecord(const std::string& folder);
  DiskRecord(const DiskRecord&) = delete;
  DiskRecord& operator=(const DiskRecord&) = delete;
  ~DiskRecord();

  [[nodiscard]] const std::vector<DiskCall>& calls() const { return calls_; }
  void add(DiskCall call) { calls_.push_back(std::move(call)); }
  /// The file's name if it is in the folder, "." for the folder itself, else "".
  [[nodiscard]] std::string name_of(const std::string& path) const;

 private:
  std::string folder_;
  std::vector<DiskCall> calls_;
};

/// A folder's files, whole, by name.
using Files = std::map<std::string, std::string>;
Files files_of(const std::string& folder);

/// What is in the folder after a power loss behind `calls`, where `before` was on the disk. Bytes of a file are certain once the file was
/// flushed, names (creation, rename, removal) once the folder was. Of what came later each 512-byte sector, each change of size and each
/// change of a name is there or not, independently, as the seed has it.
Files after_power_loss(const Files& before, std::span<const DiskCall> calls, uint32_t seed);

}  // namespace stflow::test
