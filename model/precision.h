#pragma once
/// One precision for a job: that of the autoencoder's products, and with it that of the network's.
#include <optional>

#include "engine/backend.h"

namespace branchsae {

NetworkPrecision network_precision(SaePrecision precision);

/// `wanted` where the device offers it, else the device's usual one.
SaePrecision offered_precision(const Backend& backend, std::optional<SaePrecision> wanted);

}  // namespace branchsae
