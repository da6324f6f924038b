#pragma once
/// The tables behind sae_kernels().
#include "cpu/sae/kernels.h"

namespace branchsae::cpu {

const SaeKernels& plain_kernels();
/// nullptr when the build or the processor lacks the level.
const SaeKernels* vector_kernels(Isa isa);
/// AVX-512 that also multiplies bf16; nullptr as above.
const SaeKernels* bf16_kernels();

/// SaeKernels::list_keys with AVX-512 VBMI2; nullptr when the build or the processor lacks it.
ListKeysKernel vbmi2_list_keys();

/// Plain twins of the kernels of encode and selection. Where vectors are missing every latent is scored:
/// screening would cost as much as it saves. No level runs the plain encodes.
void plain_round_tokens(const RoundTokens&);
void plain_round_panel(const RoundPanel&);
void plain_encode_chunk(const EncodeChunk&);
void plain_encode_pairs(const EncodePairs&);
void plain_encode_fixed(const EncodeFixed&);
void plain_fix_panel(const FixPanel&);
void plain_fix_tokens(const FixTokens&);
NumericFlags plain_select_all(const SelectAll&);

}  // namespace branchsae::cpu
