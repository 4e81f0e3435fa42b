#include "data/panel.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

/// The name without case and without a version suffix: "ensg01.5" and "ENSG01" are the same gene written differently.
std::string plain(std::string name) {
  size_t dot = name.rfind('.');
  if (dot != std::string::npos && dot + 1 < name.size() && name.find_first_not_of("0123456789", dot + 1) == std::string::npos)
    name.resize(dot);
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  return name;
}

}  // namespace

std::map<std::string, int64_t> columns_of(const Section& s) {
  std::map<std::string, int64_t> columns;
  for (size_t g = 0; g < s.genes.size(); g++) columns.emplace(s.genes[g], int64_t(g));
  for (size_t g = 0; g < s.gene_ids.size(); g++) columns.emplace(s.gene_ids[g], int64_t(g));
  return columns;
}

Panel read_panel(const std::string& path) {
  Json json = read_json(path);
  if (!json.is_object() || !json.contains("genes") || !json["genes"].is_array())
    fail(Exit::data, "{}: no list 'genes', expected {{\"genes\": [\"ACTB\", ...]}}", path);
  Panel panel{{}, path};
  for (const Json& g : json["genes"]) {
    if (!g.is_string() || g.get_ref<const std::string&>().empty())
      fail(Exit::data, "{}: genes[{}]: {}, expected a name", path, panel.genes.size(), g.dump().substr(0, 60));
    panel.genes.push_back(g.get<std::string>());
  }
  if (panel.genes.empty()) fail(Exit::data, "{}: genes: empty, expected at least one", path);
  std::vector<std::string> sorted = panel.genes, twice;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 1; i < sorted.size(); i++)
    if (sorted[i] == sorted[i - 1] && (twice.empty() || twice.back() != sorted[i])) twice.push_back(sorted[i]);
  if (!twice.empty()) fail(Exit::data, "{}: genes: {} listed more than once ({}), expected each once", path, twice.size(), listed(twice));
  return panel;
}

Panel most_variable(const std::vector<const Section*>& sections, int64_t count) {
  check(!sections.empty(), "a panel of no sections");
  struct Candidate {
    std::string gene;
    double sum = 0, squares = 0;
    bool common = true;
  };
  std::vector<Candidate> candidates;
  for (const auto& g : sections[0]->genes) candidates.push_back({g});
  int64_t spots = 0;
  for (const Section* s : sections) {
    auto columns = columns_of(*s);
    spots += s->size();
    std::vector<int64_t> candidate(s->genes.size(), -1), found(candidates.size(), 0);
    for (size_t i = 0; i < candidates.size(); i++) {
      auto it = columns.find(candidates[i].gene);
      if (it == columns.end()) candidates[i].common = false;
      else if (candidates[i].common) candidate[size_t(it->second)] = int64_t(i);
    }
    for (size_t v = 0; v < s->counts.value.size(); v++) {
      const int64_t c = candidate[size_t(s->counts.column[v])];
      if (c < 0 || !(s->counts.value[v] > 0)) continue;
      const auto i = size_t(c);
      const double y = std::log1p(double(s->counts.value[v]));
      found[i]++, candidates[i].sum += y, candidates[i].squares += y * y;
    }
    for (size_t i = 0; i < candidates.size(); i++)
      if (found[i] * 10 < s->size()) candidates[i].common = false;
  }
  std::erase_if(candidates, [](const Candidate& c) { return !c.common; });
  if (int64_t(candidates.size()) < count)
    fail(Exit::data, "genes: {} genes are found in at least 10 % of the spots of every training section, expected {}; lower --genes",
         candidates.size(), count);
  auto variance = [&](const Candidate& c) { return c.squares / double(spots) - c.sum / double(spots) * (c.sum / double(spots)); };
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    double va = variance(a), vb = variance(b);
    return va != vb ? va > vb : a.gene < b.gene;
  });
  Panel panel;
  for (int64_t i = 0; i < count; i++) panel.genes.push_back(candidates[size_t(i)].gene);
  std::sort(panel.genes.begin(), panel.genes.end());
  panel.from = fmt::format("the {} most variable of {} genes found in at least 10 % of the spots of every training section", count,
                           candidates.size());
  return panel;
}

PanelCounts counts_of(const Section& s, const Panel& panel, MissingGenes missing) {
  auto columns = columns_of(s);
  std::vector<int64_t> place(s.genes.size(), -1);  // in the panel, of each of the section's genes
  std::vector<std::string> absent;
  PanelCounts out;
  for (const auto& g : panel.genes) {
    auto it = columns.find(g);
    out.measured.push_back(it != columns.end());
    if (it == columns.end()) {
      absent.push_back(g);
      continue;
    }
    int64_t& p = place[size_t(it->second)];
    if (p >= 0)
      fail(Exit::data, "{}: {} and {} are names of one gene of {}, expected each gene of a panel once",
           panel.from.empty() ? "genes" : panel.from, shown(panel.genes[size_t(p)]), shown(g), s.sample());
    p = int64_t(out.measured.size()) - 1;
  }
  if (!absent.empty() && missing == MissingGenes::refuse) {
    std::string other;
    for (const auto& [g, column] : columns)
      if (plain(g) == plain(absent[0])) other = fmt::format("; it has {}: another spelling?", shown(g));
    fail(Exit::data, "{}: {} of {} panel genes missing ({}), expected all{}; --missing-genes zero fills them and leaves them out of scores",
         s.source.counts.empty() ? s.sample() : s.source.counts, absent.size(), panel.genes.size(), listed(absent), other);
  }
  const size_t G = panel.genes.size();
  out.values.assign(size_t(s.size()) * G, 0);
  for (int64_t n = 0; n < s.counts.rows(); n++)
    for (auto v = size_t(s.counts.first(n)); v < size_t(s.counts.last(n)); v++)
      if (const int64_t p = place[size_t(s.counts.column[v])]; p >= 0) out.values[size_t(n) * G + size_t(p)] = s.counts.value[v];
  return out;
}

}  // namespace stflow
