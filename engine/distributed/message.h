// What ranks and the store say to each other: framed messages of one shape over TCP.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace stflow {

struct Message {
  enum Kind : uint8_t {
    // From a rank.
    hello = 1,  // number: rank; key: size of the job, restart, process id; value: host. The first of a connection
    set,        // key, value
    get,        // number: of the question; key. Answered by `answer` as soon as the key is there
    mark,       // number: of the collective that the rank has come to; value: what it is
    late,       // number: of the collective that the rank waits in: who has not come?
    goodbye,    // the rank needs no one any more
    present,    // the answer to `roll_call`
    failing,    // number: exit code; value: why this rank ends
    // From the store.
    welcome,    // value: host and process id of rank 0
    roll_call,  // is this process running?
    refusal,    // value: why not
    answer,     // number: of the question; value
    fault       // number: exit code for everyone else; value: who is to blame and for what
  };
  Kind kind = hello;
  uint64_t number = 0;
  std::string key, value;
};

/// Larger ones are refused: a stranger's connection, or a bug.
inline constexpr size_t kMostMessage = size_t(8) << 20;

/// "stflow01", length, kind, number, key and value.
std::string encode(const Message& m);

/// Cuts what arrives on a connection into messages.
class Inbox {
 public:
  void add(std::string_view bytes) { text_ += bytes; }
  /// The next whole message. Throws Exit::peer when the bytes are none: the other side is no stflow.
  std::optional<Message> next();

 private:
  std::string text_;
};

}  // namespace stflow
