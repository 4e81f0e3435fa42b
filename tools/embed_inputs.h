// What stflow embed is given, as jobs for the encoder: sections, patches that are cut already, tile images, an image with coordinates.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "data/embedding_writer.h"
#include "data/section.h"
#include "tools/data_flags.h"
#include "tools/slide_flags.h"
#include "tools/tissue_flags.h"

namespace stflow {

/// Samples to embed. The jobs' pieces are there; row() and done() are for whoever writes the results.
struct EmbedInputs {
  std::deque<Section> sections;  // the jobs refer to them
  std::vector<PatchJob> jobs;
  std::vector<EmbeddingHeader> headers;  // one a job
  /// By sample, the patches left out because they lie on tiles that cannot be decoded.
  std::map<std::string, std::vector<std::string>> missing;
  bool one = true;  // one sample, for one file
};

/// Takes INPUT... apart: a manifest or a folder of sections (data/manifest.h), HDF5 files with patches or a folder of them, tile images or
/// a folder of them (one sample), or one slide or image whose patches are cut at the places in `coordinates`, else on a grid over its
/// tissue. Reads tables and headers, and where tissue is looked for a slide's thumbnail. Throws Exit::usage for what does not go together,
/// Exit::missing and Exit::data as the readers do.
EmbedInputs embed_inputs(const std::vector<std::string>& inputs, const std::string& coordinates, const DataFlags& data,
                         const SlideFlags& slides, const TissueFlags& tissue, const PatchEncoder& encoder);

}  // namespace stflow
