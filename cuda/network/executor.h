#pragma once
/// The forward pass on a CUDA device.
///
/// Activations lie in NHWC (layout.h) in the precision asked for. A batch always runs as one of max_batch
/// images, those missing being zero: the same algorithms on the same shapes, so that an image's bits do not
/// depend on how many others there are. Memory, algorithms and (unless sync_debug()) a CUDA graph of all
/// layers are made once; run() enqueues the input's conversion and that graph.
#include <memory>

#include "cuda/network/convolution.h"
#include "cuda/network/placement.h"
#include "engine/network.h"

namespace branchsae::cuda {

/// device   which; library  its convolutions; lowering  see Lowering, kAuto unless a test or a measurement
///          wants one
/// Throws InputError (no taps, sizes that are not positive), ShapeError (the graph does not allow this size),
/// DeviceError and MemoryError (memory, algorithms), naming layer and shapes. Runs on one stream at a time.
std::unique_ptr<NetworkExecutor> make_network(int device, std::unique_ptr<ConvolutionLibrary> library,
                                              const Graph& graph, const NetworkOptions& options,
                                              Lowering lowering = Lowering::kAuto);

/// Of BRANCHSAE_CUDA_LOWERING in the environment: "auto" or unset, "in-place", "dense"; for measurements.
/// Throws InputError for another word.
Lowering lowering_from_environment();

}  // namespace branchsae::cuda
