#pragma once
/// CRC-32C (Castagnoli): the checksum of TFRecord files.
#include <cstdint>
#include <string_view>

namespace branchsae::model {

/// Source: RFC 3720, appendix B.4 has test vectors. Polynomial 0x1EDC6F41, reflected, both ends inverted.
uint32_t crc32c(std::string_view bytes);

}  // namespace branchsae::model
