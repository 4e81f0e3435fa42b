// What a child process of data/child.h sends back: arrays as they lie in memory, each after its length.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"

namespace stflow {

template <class T> void append(std::string& answer, const std::vector<T>& values) {
  const auto n = uint64_t(values.size());
  answer.append(reinterpret_cast<const char*>(&n), sizeof n);
  answer.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}
inline void append(std::string& answer, const std::string& text) { append(answer, std::vector<char>(text.begin(), text.end())); }
inline void append(std::string& answer, const std::vector<std::string>& texts) {
  append(answer, std::vector<int64_t>{int64_t(texts.size())});
  for (const std::string& t : texts) append(answer, t);
}

/// Takes them out again, in the same order.
class Answer {
 public:
  Answer(std::string_view bytes, std::string path) : rest_(bytes), path_(std::move(path)) {}

  template <class T> std::vector<T> take() {
    uint64_t n = 0;
    if (rest_.size() >= sizeof n) std::memcpy(&n, rest_.data(), sizeof n);
    if (rest_.size() < sizeof n || n > (rest_.size() - sizeof n) / sizeof(T))
      fail(Exit::data, "{}: the reader's answer is cut short, expected a readable file", path_);
    std::vector<T> values(n);
    if (n > 0) std::memcpy(values.data(), rest_.data() + sizeof n, n * sizeof(T));
    rest_.remove_prefix(sizeof n + n * sizeof(T));
    return values;
  }
  std::string text() {
    const auto bytes = take<char>();
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::string> texts() {
    std::vector<std::string> all;
    for (int64_t n = one<int64_t>(); n > 0; n--) all.push_back(text());
    return all;
  }
  template <class T> T one() {
    const auto values = take<T>();
    check(values.size() == 1, "{}: {} numbers in an answer, expected one", path_, values.size());
    return values[0];
  }

 private:
  std::string_view rest_;
  std::string path_;
};

}  // namespace stflow
