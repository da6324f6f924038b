#pragma once
/// Small training jobs on the fake device.
#include <map>
#include <string>

#include "model/train.h"
#include "tests/model/fake_device.h"

namespace branchsae::test {

/// 40 images, taps "a" and "b"; 14 steps of 24 tokens in rounds of 7 batches, so that interruptions fall
/// inside, at the start and at the end of a round.
TrainOptions small_options(const std::filesystem::path& out);

/// Runs a job on a device of its own, as another process would.
TrainResult run_job(const TrainOptions& options, const FakeImages& images,
                    const TrainCallbacks& callbacks = {}, FakeControl control = {},
                    const Graph& graph = fake_graph());

/// The same on any device.
TrainResult run_job_on(const Device& device, const TrainOptions& options, const FakeImages& images,
                       const TrainCallbacks& callbacks = {}, const Graph& graph = fake_graph());

/// Asks to stop as soon as `step` steps are made (0: at once).
TrainCallbacks stop_after(int64_t step);

/// Contents of a run's result files by path: per tap sae, config, eval, and the current checkpoint's state.
std::map<std::string, std::string> result_files(const std::filesystem::path& run);

}  // namespace branchsae::test
