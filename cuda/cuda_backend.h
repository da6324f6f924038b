#pragma once
/// The backend of one CUDA device. Memory, copies and rows work; the network and the autoencoder are not
/// built yet.
#include <memory>

#include "engine/backend.h"

namespace branchsae::cuda {

/// index    which device, from 0
/// threads  of the host; 0: all
/// Throws DeviceError when the device does not exist or is too old.
std::unique_ptr<Backend> make_backend(int index, int threads);

}  // namespace branchsae::cuda
