#include "data/spatial/frame.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const std::vector<Encoding> kColumns = {{"array", 0.2},
                                        {"string-array", 0.2},
                                        {"categorical", 0.2},
                                        {"nullable-integer", 0.1},
                                        {"nullable-boolean", 0.1},
                                        {"nullable-string-array", 0.1}};

}  // namespace

std::string encoding_of(const Hdf5File& file, const std::string& path, const std::string& object, const std::vector<Encoding>& known) {
  std::string name = file.text(object, "encoding-type").value_or("");
  if (name.empty()) return "";
  std::vector<std::string> names;
  for (const Encoding& k : known) names.emplace_back(k.name);
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) fail(Exit::data, "{}: '{}': encoding-type {}, expected {}", path, object, shown(name), listed(names));
  // "0.2.0": the first two numbers tell what a reader has to know
  const std::string version = file.text(object, "encoding-version").value_or("");
  const auto number = parse_number(version.substr(0, version.rfind('.')));
  const double newest = known[size_t(it - names.begin())].newest;
  if (!number || *number > newest + 1e-9)
    fail(Exit::data, "{}: '{}': encoding-version {} of {}, expected at most {}.0", path, object, shown(version), name, shortest(newest));
  return name;
}

Frame::Frame(const Hdf5File& file, const std::string& path, const std::string& name) : file_(file), path_(path), name_(name) {
  const Hdf5File::Kind kind = file.kind(name);
  if (kind == Hdf5File::Kind::none) fail(Exit::data, "{}: '{}': not there, expected a table", path, name);
  records_ = kind == Hdf5File::Kind::dataset;
  if (records_) {
    const auto fields = file.fields(name);
    if (fields.empty()) fail(Exit::data, "{}: '{}': no records, expected a table", path, name);
    index_ = std::find(fields.begin(), fields.end(), "_index") != fields.end()  ? "_index"
             : std::find(fields.begin(), fields.end(), "index") != fields.end() ? "index"
                                                                                : fields[0];
    return;
  }
  encoding_of(file, path, name, {{"dataframe", 0.2}});
  index_ = file.text(name, "_index").value_or("_index");
}

std::vector<std::string> Frame::index() const {
  Column c = column(index_);
  if (c.size() > 0 && !c.is_text()) fail(Exit::data, "{}: dataset '{}/{}': numbers, expected a name per row", path_, name_, index_);
  return std::move(c.texts);
}

std::vector<std::string> Frame::columns() const {
  auto all = records_ ? file_.fields(name_) : file_.members(name_);
  std::erase_if(all, [&](const std::string& c) { return c == index_ || c == "__categories"; });
  return all;
}

bool Frame::has(const std::string& column) const {
  if (!records_) return file_.has(name_ + "/" + column);
  const auto all = file_.fields(name_);
  return std::find(all.begin(), all.end(), column) != all.end();
}

Column Frame::categories(const std::vector<double>& codes, const std::string& names, const std::string& at) const {
  // Categories may be numbers, as leiden's often are in old files.
  Column from, c;
  std::vector<int64_t> dims;
  if (file_.is_text(names)) from.texts = file_.strings(names);
  else from.numbers = file_.array<double>(names, dims);
  const auto many = double(from.size());
  for (size_t i = 0; i < codes.size(); i++) {
    if (!(codes[i] >= -1 && codes[i] < many && codes[i] == std::floor(codes[i])))
      fail(Exit::data, "{}: dataset '{}': code {} in row {}, expected -1 to {}", path_, at, shortest(codes[i]), i,
           int64_t(from.size()) - 1);
    const bool none = codes[i] < 0;
    if (from.is_text() || many == 0) c.texts.push_back(none ? "" : from.texts[size_t(codes[i])]);
    else c.numbers.push_back(none ? kNan : from.numbers[size_t(codes[i])]);
  }
  return c;
}

Column Frame::group_column(const std::string& at) const {
  const std::string encoding = encoding_of(file_, path_, at, kColumns);
  std::vector<int64_t> dims;
  if (encoding == "categorical") return categories(file_.array<double>(at + "/codes", dims), at + "/categories", at + "/codes");
  if (!encoding.starts_with("nullable-")) fail(Exit::data, "{}: '{}': a group, expected a column", path_, at);
  Column c;
  if (encoding == "nullable-string-array") c.texts = file_.strings(at + "/values");
  else c.numbers = file_.array<double>(at + "/values", dims);
  const auto missing = file_.array<double>(at + "/mask", dims);
  if (missing.size() != c.size()) fail(Exit::data, "{}: dataset '{}/mask': {} values, expected {}", path_, at, missing.size(), c.size());
  for (size_t i = 0; i < missing.size(); i++) {
    if (missing[i] == 0) continue;
    if (c.is_text()) c.texts[i].clear();
    else c.numbers[i] = kNan;
  }
  return c;
}

Column Frame::column(const std::string& column) const {
  Column c;
  if (records_) {
    auto values = file_.field(name_, column);
    if (auto* texts = std::get_if<1>(&values)) c.texts = std::move(*texts);
    else c.numbers = std::move(std::get<0>(values));
    const std::string names = "uns/" + column + "_categories";
    return !c.is_text() && file_.has(names) ? categories(c.numbers, names, name_ + "/" + column) : c;
  }
  const std::string at = name_ + "/" + column;
  if (file_.kind(at) == Hdf5File::Kind::group) return group_column(at);
  encoding_of(file_, path_, at, kColumns);
  std::vector<int64_t> dims;
  if (file_.is_text(at)) c.texts = file_.strings(at);
  else c.numbers = file_.array<double>(at, dims);
  const std::string names = name_ + "/__categories/" + column;
  if (!c.is_text() && file_.has(names)) return categories(c.numbers, names, at);
  if (dims.size() > 1) fail(Exit::data, "{}: dataset '{}': {} dimensions, expected 1", path_, at, dims.size());
  return c;
}

}  // namespace stflow
