#include "model/precision.h"

namespace branchsae {

NetworkPrecision network_precision(SaePrecision precision) {
  if (precision == SaePrecision::kBf16) return NetworkPrecision::kBf16;
  return precision == SaePrecision::kTf32 ? NetworkPrecision::kTf32 : NetworkPrecision::kF32;
}

SaePrecision offered_precision(const Backend& backend, std::optional<SaePrecision> wanted) {
  return wanted && backend.offers(*wanted) ? *wanted : backend.usual_precision();
}

}  // namespace branchsae
