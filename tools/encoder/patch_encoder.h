// --encoder and what goes with it: which network turns patches into features, what happens to their pixels first, and the identity of
// the features that come out.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/patches.h"
#include "data/resize.h"
#include "data/section.h"
#include "model/encoder.h"
#include "model/presets.h"
#include "tools/options.h"
#include "tools/terminal.h"

namespace stflow {

/// The values of --precision, and what one means.
inline const std::vector<std::string> kPrecisions{"stored", "f32", "f16", "bf16", "int8", "tf32"};
Precision precision_of(const std::string& word);
/// Under --precision tf32, the context in which the denoiser's products are rounded too; bf16 is the encoder's alone. Throws Exit::usage
/// for what the device has not.
Context context_of(const std::string& precision, const Context& context);

struct EncoderFlags {
  std::string encoder;                    // a file, a folder or a published name; "" for the one that comes with stflow
  std::string preset;                     // which published encoder the file is, where it does not say so itself
  std::optional<std::string> preprocess;  // of a published encoder: card, hest, trident or stpath
  bool resample = false;                  // patches of another size are resized
  double microns = 0;                     // side of a patch; 0: what the encoder's file says
  std::string precision = "stored";       // how the matrices are held: one of kPrecisions
  int64_t batch = 0;                      // patches that are computed together; 0: as many as fit a cache
  Context context;                        // where the encoder runs; no flag of its own
};

/// Declares --encoder, --encoder-preset, --preprocess, --resample, --patch-microns and --precision.
void declare_encoder(Options& o, EncoderFlags& f);

/// Where a folder that comes with stflow is ("weights", "data/samples"): beside the program, else where `make install` puts it.
/// If it is in neither place, the one beside the program, for the error of whoever opens it.
std::string shipped(const std::string& folder);
/// The checkpoint that comes with stflow; throws Exit::missing with what to pass if it is not there.
std::string default_encoder();

class PatchEncoder {
 public:
  /// Finds the file (tools/encoder/source.h), reads it whatever its container (data/weights/open.h) and its names (model/key_maps.h), with
  /// what a preset knows. Throws Exit::missing, Exit::data, Exit::usage.
  explicit PatchEncoder(const EncoderFlags& flags);

  [[nodiscard]] Encoder& encoder() { return encoder_; }
  [[nodiscard]] int64_t dim() const { return encoder_.dim(); }
  /// How a patch is cut from an image: its side in tissue (0 if nothing says it) and in pixels, before the encoder's preprocessing.
  [[nodiscard]] const PatchSpec& spec() const { return spec_; }
  /// As spec(); throws Exit::data if nothing says how large a patch is in tissue.
  [[nodiscard]] const PatchSpec& scaled_spec() const;
  /// A patch as the encoder takes it. `where` begins the line of Exit::data for one that does not come out at the encoder's size.
  [[nodiscard]] Image prepare(Image patch, const std::string& where) const;
  /// What two features must share to be comparable.
  [[nodiscard]] const Origin& origin() const { return origin_; }

 private:
  struct Source;
  PatchEncoder(const EncoderFlags& flags, const Source& source);

  std::string path_;
  Encoder encoder_;
  PatchSpec spec_;
  Preprocess pixels_;
  Origin origin_;
};

/// "weights 3f2a91c0b7de, preprocess bicubic 256, crop 224, ...", short enough for an error line.
std::string text_of(const Origin& origin);
/// Throws Exit::data, showing both, unless the features here are of the kind that was trained on. Features whose file does not say what
/// made them are taken, with a warning, where those in training came from an encoder: their width is compared elsewhere.
void compare_origin(const Origin& training, const Origin& here, const std::string& path);

/// A sample whose patches come in pieces.
struct PatchJob {
  using Sink = std::function<void(int64_t row, Image patch)>;
  std::string name;
  int64_t count = 0;                                     // patches of all pieces together
  std::vector<std::function<void(const Sink&)>> pieces;  // each gives its patches to the sink, in any order, from any thread
  std::function<void(int64_t, const float*)> row;        // takes the features of a patch, in the thread of embed_patches()
  std::function<void()> done;                            // after the last row
};

/// Runs the jobs: pieces are decoded and prepared on threads of their own, a few batches ahead of the encoder, which uses all threads. At
/// most that many patches are held. The same features whatever the number of threads. Throws what a piece threw (of several the first in
/// order) and Exit::preempted at a stop signal.
void embed_patches(PatchEncoder& encoder, const std::vector<PatchJob>& jobs, terminal::Progress& progress);

}  // namespace stflow
