#include "data/spatial/hest_bench.h"

#include <algorithm>
#include <filesystem>

#include "data/panel.h"
#include "data/table.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

std::vector<HestSample> read_split(const fs::path& root, const fs::path& path) {
  const FileView file(path.string());
  Table table(file.text(), path.string(), ',');
  const size_t sample = table.column("sample_id"), patches = table.column("patches_path"), expression = table.column("expr_path");
  auto file_in = [&](size_t column) {
    const fs::path relative = fs::path(std::string(table.cell(column))).lexically_normal();
    if (relative.empty() || relative.is_absolute() || *relative.begin() == "..")
      table.refuse(column, shown(table.cell(column)) + ", expected a path inside the task's folder");
    std::string full = (root / relative).string();
    if (!fs::is_regular_file(full))
      fail(Exit::missing, "{}: No such file, expected the '{}' of line {} of {}", full, table.header()[column], table.line(),
           path.string());
    return full;
  };
  std::vector<HestSample> all;
  while (table.next()) {
    HestSample s{std::string(table.cell(sample)), file_in(patches), file_in(expression)};
    if (s.sample.empty()) table.refuse(sample, "empty, expected a slide's name");
    for (const HestSample& o : all)
      if (o.sample == s.sample) table.refuse(sample, shown(s.sample) + " a second time, expected each slide once");
    all.push_back(std::move(s));
  }
  if (all.empty()) fail(Exit::data, "{}: line {}: no slides, expected rows after the header", path.string(), table.line());
  return all;
}

}  // namespace

bool is_hest_bench(const std::string& folder) {
  return fs::is_directory(fs::path(folder) / "splits") && fs::is_directory(fs::path(folder) / "adata");
}

HestBench read_hest_bench(const std::string& folder) {
  const fs::path root(folder), splits = root / "splits";
  if (!fs::is_directory(splits)) fail(Exit::missing, "{}: no such folder, expected splits/train_0.csv and test_0.csv", splits.string());
  HestBench bench;
  for (int i = 0;; i++) {
    const fs::path train = splits / fmt::format("train_{}.csv", i), test = splits / fmt::format("test_{}.csv", i);
    if (!fs::exists(train) && !fs::exists(test)) break;
    HestSplit fold{read_split(root, train), read_split(root, test)};
    for (const HestSample& t : fold.test)
      if (std::any_of(fold.train.begin(), fold.train.end(), [&](const HestSample& s) { return s.sample == t.sample; }))
        fail(Exit::data, "{}: slide {} is in {}, too, expected each slide on one side", test.string(), shown(t.sample),
             train.filename().string());
    bench.folds.push_back(std::move(fold));
  }
  if (bench.folds.empty()) fail(Exit::missing, "{}: no train_0.csv, expected one", splits.string());
  bench.genes = read_panel((root / "var_50genes.json").string()).genes;
  return bench;
}

}  // namespace stflow
