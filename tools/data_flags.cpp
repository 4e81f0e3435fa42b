#include "tools/data_flags.h"

#include "data/feature_cache.h"

namespace stflow {

void declare_data(Options& o, DataFlags& f) {
  o.section("Data");
  o.flag("data", &f.path, "folder in a recognised layout, or a manifest CSV; without it the sample sections").placeholder("PATH");
  declare_features(o, f);
  o.flag("train", &f.options.train, "samples to train on");
  o.flag("val", &f.options.val, "samples to choose on");
  o.flag("test", &f.options.test, "samples to judge on");
}

void declare_features(Options& o, DataFlags& f) {
  f.cache = default_cache_folder();
  o.flag("embeddings", &f.options.embeddings, "folder with precomputed features, <sample>.h5 (as stflow embed and HEST write them)")
      .placeholder("DIR");
  declare_encoder(o, f.encoder);
  o.flag("cache-dir", &f.cache, "where computed features are kept").placeholder("DIR");
  declare_reading(o, f);
  o.flag("missing-genes", &f.missing_genes, "a panel gene that a section lacks: refuse or zero").choices({"refuse", "zero"});
}

void declare_reading(Options& o, DataFlags& f) {
  o.flag("mpp", &f.options.mpp, "microns per pixel of all images; 0: from the manifest or the spots' pitch").range(0, 100);
  o.flag("spot-pitch", &f.options.spot_pitch, "microns between spot centres; 0: what the array type says").range(0, 10000);
  o.flag("min-counts", &f.options.min_counts, "spots with fewer counts in all are left out").at_least(0);
  o.flag("drop-nonfinite", &f.options.drop_nonfinite, "leave out spots with NaN or Inf");
  o.flag("duplicate-genes", &f.duplicate_genes, "a gene that a table has twice: refuse, sum, first or drop")
      .choices({"refuse", "sum", "first", "drop"});
  o.flag("image", &f.options.image, "full-resolution image of the only section, where its files do not name it").placeholder("FILE");
  o.flag("layer", &f.options.layer, "of .h5ad files: the layer with counts, or raw; without it X").placeholder("NAME");
  o.flag("x-is", &f.values, "what the values of .h5ad files are: counts, or log1p of them").choices({"counts", "log1p"});
  o.flag("barcode-strip", &f.options.barcode_strip, "join barcodes without the number behind their last dash");
}

FeatureOptions DataFlags::features(const Context& context) const {
  FeatureOptions o{encoder, cache};
  o.encoder.context = context;
  return o;
}

DataOptions DataFlags::reading() const {
  DataOptions o = options;
  o.duplicate_genes = duplicate_genes == "sum"     ? DuplicateGenes::sum
                      : duplicate_genes == "first" ? DuplicateGenes::first
                      : duplicate_genes == "drop"  ? DuplicateGenes::drop
                                                   : DuplicateGenes::refuse;
  o.values = values == "log1p" ? Values::log1p : Values::counts;
  return o;
}

}  // namespace stflow
