#include "analysis/splicing/splicer.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "engine/passes.h"
#include "model/device_rows.h"

namespace branchsae {

SpliceSite splice_site(const Graph& graph, const Tap& tap) {
  const ValueId value = tap.parts.at(0).value;
  const bool one_layer = std::ranges::all_of(tap.parts, [&](const TapPart& p) { return p.value == value; });
  // Parts of one value that follow one another are one range.
  bool side_by_side = true;
  for (size_t i = 1; i < tap.parts.size(); ++i)
    side_by_side = side_by_side && tap.parts[i].begin == tap.parts[i - 1].end;
  if (!one_layer || !side_by_side) {
    throw InputError(
        fmt::format("'{}' joins several layers: only one layer or branch can be replaced in the running "
                    "network",
                    tap.name));
  }
  try {
    resume_at(graph, value, graph.outputs);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("'{}' cannot be replaced in the running network: {}", tap.name, error.what()));
  }
  return {value, graph.value(value).name, tap.parts.front().begin, tap.parts.back().end,
          graph.value(value).shape.at(1)};
}

Splicer::Splicer(const Device& device, const Graph& graph, const SpliceSite& site, const std::string& scores,
                 int64_t max_batch, int64_t height, int64_t width, NetworkPrecision precision,
                 ConvAlgorithm conv)
    : device_(device),
      value_(site.value),
      channels_(site.channels),
      max_batch_(max_batch),
      positions_(height * width),
      program_(device.compile(resume_at(graph, site.value, {resolve_tap(graph, scores).parts.at(0).value}),
                              {.taps = {scores},
                               .max_batch = max_batch,
                               .height = height,
                               .width = width,
                               .conv = conv,
                               .precision = precision})),
      changed_(
          device.backend().buffer<float>(max_batch * positions_ * site.channels, "replaced activation")) {}

HostTensor Splicer::run_sync(Stream& stream, const SpliceSite& site, View<const float, 2> layer,
                             View<const float, 2> replacement) {
  if (site.value != value_)
    throw InputError(fmt::format("'{}' is another layer than the one to go on from", site.layer));
  const int64_t rows = layer.shape[0], images = rows / positions_;
  const bool whole = images >= 1 && images <= max_batch_ && images * positions_ == rows;
  if (!whole || layer.shape[1] != channels_ || replacement.shape[0] != rows ||
      replacement.shape[1] != site.end - site.begin) {
    throw ShapeError(fmt::format(
        "a layer of {} x {} with {} x {} to replace: up to {} images of {} rows, {} and {} channels wanted",
        rows, layer.shape[1], replacement.shape[0], replacement.shape[1], max_batch_, positions_, channels_,
        site.end - site.begin));
  }
  const View<float, 2> changed = changed_.matrix(rows, channels_);
  device_.backend().copy_rows(stream, layer, changed);
  device_.backend().copy_rows(stream, replacement, changed.columns(site.begin, site.end - site.begin));
  const std::array<int64_t, 4> shape{images, program_.height(), program_.width(), channels_};
  program_.run(View<const float, 4>(changed_.data(), shape), stream);
  return model::rows_to_host_sync(device_.backend(), stream, program_.tap(0).tokens());
}

}  // namespace branchsae
