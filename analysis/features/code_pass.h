#pragma once
/// One forward pass of images for many autoencoders: what every command that looks at codes is built on.
#include <array>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/device.h"
#include "engine/images.h"
#include "model/evaluate.h"
#include "model/sae_file.h"

namespace branchsae {

/// Codes of one autoencoder, with one k, for a batch of images. Views are valid during the visit.
struct CodeBatch {
  size_t sae = 0;  ///< place among the pass's autoencoders
  int64_t k = 0;
  std::span<const int64_t> images;  ///< of the batch, by index in the source, in the order asked for
  int64_t tokens_per_image = 0, codes_per_image = 0;
  View<const float, 2> tokens;  ///< [tokens, d] unscaled, host; rows may be strided
  View<const float, 2>
      values;  ///< [codes, k] host, scaled units; of every token, or of CodePass::encode_only
  View<const int32_t, 2> indices;  ///< [codes, k] host, ascending; -1 in unused slots

  /// Rows [first, first + codes_per_image) of values and indices belong to images[place].
  int64_t first(size_t place) const { return static_cast<int64_t>(place) * codes_per_image; }
};

struct CodePassResult {
  int64_t images = 0;  ///< read
  std::vector<SkippedImage> skipped;
  bool stopped = false;  ///< then only the images so far were visited
};

class CodePass {
 public:
  /// Compiles the network up to the autoencoders' taps and loads the autoencoders: any taps, also several
  /// autoencoders of one tap. options.ks: codes for each of them; empty: each autoencoder's own. All
  /// arguments but `device` are used until the pass is gone.
  /// Throws InputError: a tap that the graph lacks or of another width, k outside 1..n or twice.
  CodePass(const Device& device, const Graph& graph, const ImageSource& images,
           const std::vector<SaeFile>& saes, const EvaluateOptions& options);
  ~CodePass();

  /// Height and width of an autoencoder's tap; 1 x 1 where it has no grid.
  std::array<int64_t, 2> grid(size_t sae) const;
  int64_t tokens_per_image(size_t sae) const;
  /// The numbers kept of an autoencoder, in the order of the visits.
  const std::vector<int64_t>& ks(size_t sae) const;

  /// From now on an autoencoder encodes these positions of an image only, ascending: the codes that they have
  /// among all. Throws InputError.
  void encode_only(size_t sae, std::vector<int64_t> positions);

  /// Runs options.images in order; for every batch calls visit for each autoencoder, and each k of it. Throws
  /// InputError when too many images cannot be read.
  using Visit = std::function<void(const CodeBatch&)>;
  CodePassResult run(const Visit& visit, const EvaluateCallbacks& callbacks = {});
  /// The same over these images.
  CodePassResult run(const std::vector<int64_t>& images, const Visit& visit,
                     const EvaluateCallbacks& callbacks = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace branchsae
