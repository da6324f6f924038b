#pragma once
/// Local response normalisation written out as arithmetic.
#include "loader/onnx_file.h"

namespace branchsae::loader {

/// PyTorch exports local_response_norm(x) as x / (k + alpha * mean)^beta, where mean is a 3-D average pool of
/// kernel [size, 1, 1] over the zero-padded squares of x seen as [N, 1, C, H, W]. Replaces each such group of
/// nodes by one LRN node and drops those that nothing reads any more. Whatever is not exactly that stays as
/// it is. Source: torch.nn.functional.local_response_norm; ONNX operator LRN.
void collapse_lrn(OnnxFile& file);

}  // namespace branchsae::loader
