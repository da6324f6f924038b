#pragma once
/// The k-sparse autoencoder of engine/sae.h in plain double precision: what the backends are compared with,
/// itself compared with finite differences. Slow and simple: every pre-activation is stored.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sae.h"

namespace branchsae::reference {

struct Selected {
  int64_t latent;
  double value;
  bool operator==(const Selected&) const = default;
};
using Selection = std::vector<Selected>;  ///< of one token, in ascending latent

/// The k largest of u that are above 0; ties to the lower index, NaN never, +Inf may be.
Selection select_topk(std::span<const double> u, int64_t k);

/// Row-major matrices as in engine/sae.h.
struct SaeVectors {
  std::vector<double> w, w_dec, b_enc, b_pre;  ///< w_dec empty when tied
};

struct SaeResult {
  double loss = 0, aux_loss = 0;  ///< mean |r|^2, mean |ra|^2
  std::vector<Selection> selected, aux_selected;
  std::vector<double> residuals;  ///< [B, d] r, the constant target of AuxK
  SaeVectors gradients;
};

class Sae {
 public:
  explicit Sae(const SaeSpec& spec);

  void load(const SaeParameters& parameters);
  SaeParameters parameters() const;

  /// Selections of tokens x [B, d] (unscaled) with any k.
  std::vector<Selection> encode(View<const float, 2> x, int64_t k) const;
  /// Loss and gradients. `selected` replaces the selection by a given one (of another precision) unless null.
  SaeResult gradients(View<const float, 2> x, const SaeStep& step,
                      const std::vector<Selection>* selected = nullptr) const;
  /// mean |r|^2 + aux_alpha mean |ra|^2 at the present parameters with selected sets and AuxK's targets kept
  /// from `at`: the function that the gradients are the derivative of.
  double loss_near(View<const float, 2> x, double aux_alpha, const SaeResult& at) const;
  /// One training step; returns what gradients() gave before it.
  SaeResult step(View<const float, 2> x, const SaeStep& step);

  const SaeSpec& spec() const { return spec_; }
  SaeVectors vectors, m, v;
  double scale = 1;
  std::vector<int64_t> last_fired;
  int64_t tokens_seen = 0;

 private:
  std::vector<double> centred(View<const float, 2> x) const;
  std::vector<double> pre_activations(std::span<const double> xc) const;
  const std::vector<double>& decoder() const { return spec_.tied ? vectors.w : vectors.w_dec; }
  void add_decoded(const Selection& selected, std::span<double> target) const;
  void add_gradients(const Selection& selected, std::span<const double> xc, std::span<const double> e,
                     SaeVectors& gradients) const;
  double value_now(int64_t latent, std::span<const double> xc) const;

  SaeSpec spec_;
};

}  // namespace branchsae::reference
