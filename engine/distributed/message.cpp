#include "engine/distributed/message.h"

#include <cstring>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr std::string_view kMagic = "stflow01";
constexpr size_t kHead = 8 + 4 + 4 + 8 + 8;  // magic, bytes of key and of value, number, kind

void put(std::string& to, uint64_t n, int bytes) {
  for (int i = 0; i < bytes; i++) to += char(n >> (8 * i) & 255);
}
uint64_t take(std::string_view from, size_t at, int bytes) {
  uint64_t n = 0;
  for (int i = bytes; i-- > 0;) n = n << 8 | static_cast<unsigned char>(from[at + size_t(i)]);
  return n;
}

}  // namespace

std::string encode(const Message& m) {
  check(m.key.size() + m.value.size() <= kMostMessage, "store: a message of {} bytes", m.key.size() + m.value.size());
  std::string out(kMagic);
  put(out, m.key.size(), 4), put(out, m.value.size(), 4), put(out, m.number, 8), put(out, m.kind, 8);
  return out + m.key + m.value;
}

std::optional<Message> Inbox::next() {
  if (text_.compare(0, kMagic.size(), kMagic, 0, std::min(kMagic.size(), text_.size())) != 0)
    fail(Exit::peer, "store: bytes that are no message of stflow");
  if (text_.size() < kHead) return {};
  const uint64_t key = take(text_, 8, 4), value = take(text_, 12, 4), kind = take(text_, 24, 8);
  if (key + value > kMostMessage || kind < Message::hello || kind > Message::fault)
    fail(Exit::peer, "store: bytes that are no message of stflow");
  if (text_.size() < kHead + key + value) return {};
  Message m{Message::Kind(kind), take(text_, 16, 8), text_.substr(kHead, key), text_.substr(kHead + key, value)};
  text_.erase(0, kHead + key + value);
  return m;
}

}  // namespace stflow
