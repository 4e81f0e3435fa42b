// The sections that ship with the repository, read as a user reads them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "data/dataset.h"
#include "data/panel.h"
#include "data/patches.h"
#include "tests/files.h"

using namespace stflow;

namespace {
const std::string kSamples = "data/samples/her2st";
}

TEST_CASE("samples: shapes, totals and scale of the five sections") {
  Dataset d = open_dataset(kSamples);
  CHECK(d.layout == "manifest");
  REQUIRE(d.sections.size() == 5);
  struct {
    const char* sample;
    int64_t spots, genes, width, height;
    double total;
  } expected[] = {{"C2", 187, 15706, 9274, 9911, 8508},
                  {"C3", 180, 15821, 9270, 9936, 9549},
                  {"C4", 184, 15842, 9278, 9916, 10190},
                  {"C5", 181, 15721, 9272, 9901, 10015},
                  {"C6", 178, 15772, 9288, 9907, 12428}};
  for (size_t i = 0; i < 5; i++) {
    const Section& s = d.sections[i];
    const auto& e = expected[i];
    CHECK(s.sample() == e.sample);
    CHECK(s.size() == e.spots);
    CHECK(int64_t(s.genes.size()) == e.genes);
    CHECK(s.width == e.width);
    CHECK(s.height == e.height);
    CHECK(s.split() == (i == 4 ? Split::test : Split::train));
    CHECK(s.mpp == doctest::Approx(0.69).epsilon(0.01));
    std::vector<double> totals;
    for (int64_t n = 0; n < s.size(); n++) totals.push_back(s.counts.total(n));
    std::sort(totals.begin(), totals.end());
    double median = (totals[size_t(s.size() - 1) / 2] + totals[size_t(s.size()) / 2]) / 2;
    CHECK(std::fabs(median - e.total) <= 0.5);
  }
  auto spot = std::find(d.sections[0].spots.begin(), d.sections[0].spots.end(), "25x13") - d.sections[0].spots.begin();
  CHECK(d.sections[0].xy[size_t(2 * spot)] == 6930.58);
  CHECK(d.sections[0].xy[size_t(2 * spot + 1)] == 3510.24);
  CHECK(d.describe()[4] ==
        "C6 [test]: 178 spots, 15772 genes, image 9288 x 9907, 0.6877 um per pixel (200 um between spots that are 290.8 pixels apart); "
        "0 spots only in the counts, 1 only in the spot file, 178 in both");
  CHECK(d.warnings.empty());
  CHECK(d.notes == std::vector<std::string>{"spots left out: 8 are in only one of a section's files; -v counts them by section",
                                            "no patients are stated: sections of one patient may stand on both sides of the split"});
}

TEST_CASE("samples: precomputed features and the shipped gene panel") {
  DataOptions options;
  options.embeddings = kSamples + "/embeddings";
  options.min_counts = 10;
  Dataset d = open_dataset(kSamples, options);
  CHECK(d.warnings.empty());
  CHECK(d.notes[0] ==
        "spots left out: 8 are in only one of a section's files, 6 have fewer than 10 counts (--min-counts); -v counts them by section");
  const int64_t spots[] = {186, 179, 184, 179, 176};
  for (size_t i = 0; i < 5; i++) {
    CHECK(d.sections[i].size() == spots[i]);
    CHECK(d.sections[i].feature_dim == 223);
  }
  // The shipped panel was made by an independent program. It is the rule applied to C2-C5: highest variance of log1p counts among genes
  // found in 10 % of the spots.
  Panel shipped = read_panel(kSamples + "/var_50genes.json"), ours = most_variable(d.of(Split::train), 50);
  CHECK(ours.genes == shipped.genes);
  PanelCounts c = counts_of(d.sections[4], shipped);
  CHECK(c.values.size() == size_t(176 * 50));
}
