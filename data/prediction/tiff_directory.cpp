#include "data/prediction/tiff_directory.h"

#include "engine/error.h"

namespace stflow {

std::string little_endian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; i++) out.push_back(char(value >> (8 * i) & 255));
  return out;
}

void TiffDirectory::add(uint16_t tag, uint16_t type, int bytes_each, const std::vector<uint64_t>& values, uint64_t count) {
  check(entries_.empty() || entries_.back().tag < tag, "TIFF tag {} after a larger one", tag);
  Entry e{tag, type, count > 0 ? count : values.size(), {}};
  for (const uint64_t v : values) e.content += little_endian(v, bytes_each);
  entries_.push_back(std::move(e));
}

void TiffDirectory::text(uint16_t tag, const std::string& value) {
  add(tag, 2, 1, {});
  entries_.back().content = value + '\0';
  entries_.back().count = entries_.back().content.size();
}

std::string TiffDirectory::bytes(uint64_t place, uint64_t& begin) const {
  std::string before(place % 2, '\0'), directory = little_endian(entries_.size(), big_ ? 8 : 2);  // everything begins at an even place
  for (const Entry& e : entries_) {
    directory += little_endian(e.tag, 2) + little_endian(e.type, 2) + little_endian(e.count, width());
    std::string content = e.content;
    if (content.size() > size_t(width())) {
      content = little_endian(place + before.size(), width());
      before += e.content;
      before.append(before.size() % 2 != place % 2, '\0');
    }
    content.resize(size_t(width()), '\0');
    directory += content;
  }
  begin = place + before.size();
  return before + directory + little_endian(0, width());  // no further image
}

}  // namespace stflow
