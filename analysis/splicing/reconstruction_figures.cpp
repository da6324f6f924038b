#include "analysis/splicing/reconstruction_figures.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "engine/error.h"

namespace branchsae {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNaN;
}

}  // namespace

double ReconstructionSums::Mean::value() const {
  return count > 0 ? sum / static_cast<double>(count) : kNaN;
}

ReconstructionSums::ReconstructionSums(int64_t d) : error_(static_cast<size_t>(d), 0.0) {}

void ReconstructionSums::add(View<const float, 2> x, View<const float, 2> x_hat) {
  if (x.shape != x_hat.shape || x.shape[1] != std::ssize(error_)) {
    throw ShapeError(fmt::format("tokens of {} x {} beside reconstructions of {} x {}, {} channels wanted",
                                 x.shape[0], x.shape[1], x_hat.shape[0], x_hat.shape[1], error_.size()));
  }
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    double squared_error = 0, squared_norm = 0, squared_hat = 0, product = 0;
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const auto value = static_cast<double>(x(t, c));
      const auto hat = static_cast<double>(x_hat(t, c));
      const double error = value - hat;
      error_[static_cast<size_t>(c)] += error;
      squared_error += error * error;
      squared_norm += value * value;
      squared_hat += hat * hat;
      product += value * hat;
    }
    squared_error_.push_back(squared_error);
    squared_hat_ += squared_hat;
    product_ += product;
    error_norm_.add(std::sqrt(squared_error));
    squared_error_norm_.add(squared_error);
    if (squared_norm > 0) {
      relative_error_.add(std::sqrt(squared_error / squared_norm));
      norm_ratio_.add(std::sqrt(squared_hat / squared_norm));
    }
  }
}

void ReconstructionSums::add_spread(View<const float, 2> x, std::span<const double> mean) {
  if (x.shape[1] != std::ssize(error_) || mean.size() != error_.size() ||
      spread_ + static_cast<size_t>(x.shape[0]) > squared_error_.size()) {
    throw ShapeError(fmt::format("{} x {} tokens and a mean of {} after {} of {} tokens of {} channels",
                                 x.shape[0], x.shape[1], mean.size(), spread_, squared_error_.size(),
                                 error_.size()));
  }
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    double variance = 0;
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const double distance = static_cast<double>(x(t, c)) - mean[static_cast<size_t>(c)];
      variance += distance * distance;
    }
    variance_ += variance;
    if (variance > 0) by_token_.add(1 - squared_error_[spread_] / variance);
    ++spread_;
  }
}

ReconstructionFigures ReconstructionSums::figures(std::span<const double> means) const {
  if (spread_ != squared_error_.size())
    throw Error(fmt::format("{} of {} tokens were compared with their mean", spread_, squared_error_.size()));
  const auto tokens = static_cast<double>(spread_);
  double of_mean_error = 0;  // sum_c T (mean of e_c)^2
  for (double sum : error_) of_mean_error += sum * sum / tokens;
  double one_mean = 0, between_channels = 0;
  for (double mean : means) one_mean += mean / static_cast<double>(means.size());
  for (double mean : means) between_channels += (mean - one_mean) * (mean - one_mean);
  const double of_all = variance_ + tokens * between_channels;
  const double centred = squared_error_norm_.sum - of_mean_error;
  return {.tokens = static_cast<int64_t>(spread_),
          .explained_variance_centred = 1 - ratio(centred, variance_),
          .explained_variance_by_token = by_token_.value(),
          .explained_variance_one_mean = 1 - ratio(squared_error_norm_.sum, of_all),
          .relative_error = relative_error_.value(),
          .norm_ratio = norm_ratio_.value(),
          .reconstruction_bias = ratio(squared_hat_, product_),
          .error_norm = error_norm_.value(),
          .squared_error_norm = squared_error_norm_.value()};
}

const std::vector<ReconstructionFormula>& reconstruction_formulas() {
  static const std::vector<ReconstructionFormula> formulas = {
      {"fvu", "FVU", "sum |e|^2 / sum |x - m|^2", "sparsify: fvu (of a batch)"},
      {"explained_variance", "EV", "1 - FVU", "SAELens: explained_variance"},
      {"explained_variance_centred", "EV centred", "1 - sum_c var(e_c) / sum_c var(x_c)",
       "dictionary_learning: frac_variance_explained (of a batch)"},
      {"explained_variance_by_channel", "EV by channel",
       "mean over channels of 1 - sum e_c^2 / sum (x_c - m_c)^2", "scikit-learn: r2_score, uniform_average"},
      {"explained_variance_by_token", "EV by token", "mean over tokens of 1 - |e|^2 / |x - m|^2",
       "SAELens: explained_variance_legacy (m of a batch)"},
      {"explained_variance_one_mean", "EV one mean", "1 - sum |e|^2 / sum (x_c - mean of all x_c)^2",
       "overcomplete: r2_score"},
      {"cosine", "cosine", "mean of x . x_hat / (|x| |x_hat|), 0 for a zero vector",
       "SAELens, dictionary_learning: cossim"},
      {"relative_error", "rel. error", "mean of |e| / |x|", "overcomplete: relative_avg_l2_loss"},
      {"norm_ratio", "norm ratio", "mean of |x_hat| / |x|", "SAELens, dictionary_learning: l2_ratio"},
      {"reconstruction_bias", "bias", "sum |x_hat|^2 / sum x . x_hat",
       "SAELens, dictionary_learning: relative_reconstruction_bias (of a batch)"},
      {"mse", "mse", "mean over tokens and channels of e_c^2", "torch.nn.MSELoss"},
      {"squared_error_norm", "|e|^2", "mean of |e|^2", "SAELens: mse"},
      {"error_norm", "|e|", "mean of |e|", "dictionary_learning: l2_loss; overcomplete: avg_l2_loss"},
  };
  return formulas;
}

}  // namespace branchsae
