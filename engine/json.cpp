#include "engine/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

/// Input iterator that tells how far the parser has read: its events carry no position of their own.
struct Counted {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  const char* at;
  const char** reached;
  reference operator*() const { return *at; }
  Counted& operator++() {
    *reached = ++at;
    return *this;
  }
  bool operator==(const Counted& o) const { return at == o.at; }
  bool operator!=(const Counted& o) const { return at != o.at; }
};

/// Builds the document from the parser's events and refuses what the rules forbid.
class Builder {
 public:
  Builder(std::string_view text, std::string file, const JsonRules& rules, std::map<std::string, int64_t>* top_keys)
      : text_(text), file_(std::move(file)), rules_(rules), top_keys_(top_keys), reached(text.data()) {}

  bool null() { return add(nullptr); }
  bool boolean(bool x) { return add(x); }
  bool number_integer(Json::number_integer_t x) { return add(x); }
  bool number_unsigned(Json::number_unsigned_t x) { return add(x); }
  bool number_float(Json::number_float_t x, const std::string& token) {
    if (token.find_first_of(".eE") == std::string::npos)
      refuse(offset() - int64_t(token.size()), "an integer beyond 64 bits, expected a smaller one");
    return add(x);
  }
  bool string(std::string& x) { return add(std::move(x)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Json& object = *open_.back();
    int64_t at = offset() - int64_t(name.size()) - 2;  // where the quote opens, if nothing is escaped
    if (object.contains(name)) refuse(at, fmt::format("key {} a second time, expected each key once", shown(name, 160)));
    if (open_.size() == 1 && top_keys_) (*top_keys_)[name] = at + std::max<int64_t>(rules_.first_byte, 0);
    slot_ = &object[name];
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) {
    std::string what = e.what();  // "[json.exception...] parse error at line 1, column 5: syntax error while ...; last read: ..."
    size_t from = what.find(": ");
    if (what.find("parse_error") != std::string::npos && from != std::string::npos) what = what.substr(from + 2);
    else if (size_t bracket = what.find("] "); bracket != std::string::npos) what = what.substr(bracket + 2);
    refuse(int64_t(position) - 1, shortened(what) + ", expected JSON");
  }

  [[noreturn]] void refuse(int64_t at, const std::string& found) const {
    at = std::clamp<int64_t>(at, 0, int64_t(text_.size()));
    if (rules_.first_byte >= 0) fail(Exit::data, "{}: byte {}: {}", file_, rules_.first_byte + at, found);
    std::string_view before = text_.substr(0, size_t(at));
    size_t line_start = before.rfind('\n');
    auto line = std::count(before.begin(), before.end(), '\n') + 1;
    fail(Exit::data, "{}: {}:{}: {}", file_, line, before.size() - (line_start == std::string_view::npos ? 0 : line_start + 1) + 1, found);
  }

  Json document;

 private:
  static std::string shortened(const std::string& s) { return s.size() <= 160 ? s : s.substr(0, 160) + "..."; }
  [[nodiscard]] int64_t offset() const { return reached - text_.data(); }

  Json* place(Json value) {
    if (++values_ > rules_.values) refuse(offset(), fmt::format("more than {} values, expected fewer", rules_.values));
    if (open_.empty()) {
      document = std::move(value);
      return &document;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (int(open_.size()) >= rules_.depth) refuse(offset() - 1, fmt::format("more than {} levels, expected fewer", rules_.depth));
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  std::string file_;
  JsonRules rules_;
  std::map<std::string, int64_t>* top_keys_;
  std::vector<Json*> open_;  // the objects and arrays being filled, outermost first
  Json* slot_ = nullptr;     // where the value of the last key goes
  int64_t values_ = 0;

 public:
  const char* reached;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& file, const JsonRules& rules, std::map<std::string, int64_t>* top_keys) {
  Builder builder(text, file, rules, top_keys);
  if (text.empty()) builder.refuse(0, "nothing, expected JSON");  // the parser's own words for it differ between its versions
  const char* end = text.data() + text.size();
  Json::sax_parse(Counted{text.data(), &builder.reached}, Counted{end, &builder.reached}, &builder);
  return std::move(builder.document);
}

Json read_json(const std::string& path) { return parse_json(read_text(path), path); }

}  // namespace stflow
