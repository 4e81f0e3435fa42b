#include "tools/launch/output.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <utility>

#include "engine/error.h"
#include "engine/file.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

constexpr size_t kLongestLine = size_t{1} << 16;  // a longer one is shown in pieces

}  // namespace

void Sink::write_some() {
  while (!queue_.empty()) {
    pollfd now{fd_, POLLOUT, 0};
    if (::poll(&now, 1, 0) <= 0 || !(now.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))) return;
    // A pipe that is ready takes PIPE_BUF bytes at once, and no other writer's bytes come between them.
    size_t n = std::min(queue_.size(), size_t(PIPE_BUF));
    if (n < queue_.size())
      if (const size_t end = queue_.rfind('\n', n - 1); end != std::string::npos) n = end + 1;
    const ssize_t wrote = ::write(fd_, queue_.data(), n);
    if (wrote < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (wrote < 0) {
      broken_ = true;
      queue_.clear();
      return;
    }
    queue_.erase(0, size_t(wrote));
  }
}

WorkerStream::WorkerStream(Sink* sink, std::string prefix, bool lines, const std::string& file)
    : sink_(sink), prefix_(std::move(prefix)), file_name_(file), lines_(lines) {
  if (file.empty()) return;
  make_output_folder(std::filesystem::path(file).parent_path().string());
  file_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail(Exit::create, "{}: {}, expected a file that can be written", file, std::strerror(errno));
}

WorkerStream::WorkerStream(WorkerStream&& o) noexcept
    : sink_(o.sink_),
      prefix_(std::move(o.prefix_)),
      partial_(std::move(o.partial_)),
      file_name_(std::move(o.file_name_)),
      lines_(o.lines_),
      file_(std::exchange(o.file_, -1)) {}

WorkerStream::~WorkerStream() {
  if (file_ >= 0) ::close(file_);
}

void WorkerStream::add(std::string_view bytes) {
  for (std::string_view rest = bytes; file_ >= 0 && !rest.empty();) {
    const ssize_t wrote = ::write(file_, rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {  // a full disk of logs does not end a training run
      terminal::warn("{}: {}; not written any further", file_name_, std::strerror(errno));
      ::close(std::exchange(file_, -1));
      break;
    }
    rest.remove_prefix(size_t(wrote));
  }
  if (!sink_) return;
  if (!lines_) return sink_->add(bytes);
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    partial_ += bytes.substr(0, end);
    if (end < bytes.size() || partial_.size() >= kLongestLine) show_line(std::exchange(partial_, {}));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
}

void WorkerStream::end() {
  if (!partial_.empty()) show_line(std::exchange(partial_, {}));
}

void WorkerStream::show_line(std::string_view line) {
  sink_->add(prefix_);
  sink_->add(line);
  sink_->add("\n");
}

}  // namespace stflow
