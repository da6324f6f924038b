#pragma once
/// One thread's, or one group of threads', copy of the compiled network.
#include <vector>

#include "cpu/network/compiler.h"
#include "engine/device_buffer.h"

namespace branchsae::cpu {

class Lane {
 public:
  /// network: its plan must outlive this.
  Lane(const CompiledNetwork& network, std::vector<LayerPtr> layers);

  /// Where the images of a chunk are to be written.
  const Blob& input() const { return input_; }
  void run(const Chunk& chunk);
  /// One layer once more on what is there.
  void run_layer(size_t index) { layers_[index]->run(chunk_); }

  const std::vector<LayerPtr>& layers() const { return layers_; }
  int64_t arena_bytes() const { return arena_.size_bytes(); }
  int64_t scratch_bytes() const { return scratch_.size_bytes(); }

 private:
  std::vector<LayerPtr> layers_;
  DeviceMemory arena_, scratch_;
  Blob input_;
  Chunk chunk_;
};

}  // namespace branchsae::cpu
