// Writes what tests/anndata/check.py compares: a prediction as h5ad, and as JSON what must be in it. Only where STFLOW_ANNDATA names a
// folder, since nothing is judged here.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "tests/data/prediction/sample.h"

using namespace stflow;

namespace {

const char* const kFolder = std::getenv("STFLOW_ANNDATA");

nlohmann::json expected(const PredictionFile& p) {
  const Section& s = *p.section;
  nlohmann::json j{{"spots", s.spots},
                   {"xy", s.xy},
                   {"sample", s.sample()},
                   {"mpp", s.mpp},
                   {"width", s.width},
                   {"height", s.height},
                   {"genes", p.genes},
                   {"gene_ids", p.gene_ids},
                   {"mean", p.mean},
                   {"layers", p.layers},
                   {"gene_columns", p.gene_columns},
                   {"spot_columns", p.spot_columns},
                   {"spot_diameter", p.spot_diameter},
                   {"about", p.about}};
  if (p.hires) j["hires"] = {{"width", p.hires->width}, {"height", p.hires->height}, {"scale", p.hires_scale}, {"rgb", p.hires->rgb}};
  return j;
}

void write(const std::string& name, const PredictionFile& p) {
  const std::string path = std::string(kFolder) + "/" + name;
  write_prediction(path + ".h5ad", p);
  write_atomic(path + ".json", expected(p).dump());
}

}  // namespace

TEST_CASE("anndata: files for check.py" * doctest::skip(kFolder == nullptr)) {
  make_output_folder(kFolder);
  test::PredictionSample sample;
  write("everything", sample.file);
  sample.file.hires.reset(), sample.file.spot_diameter = 0;
  sample.file.gene_ids.clear(), sample.file.gene_columns.clear(), sample.file.spot_columns.clear(), sample.file.layers.clear();
  sample.file.about.clear(), sample.section.mpp = 0, sample.section.source.sample = "";
  write("least", sample.file);
  test::PredictionSample large;
  large.fill(2000);
  write("large", large.file);
  sample.section.keep({}), sample.file.mean.clear();
  write("no_spots", sample.file);
  CHECK(FileView(std::string(kFolder) + "/no_spots.h5ad").size() > 0);
}
