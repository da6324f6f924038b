#include "tests/model/train_fixture.h"

#include <memory>

#include "engine/files.h"
#include "model/checkpoint.h"

namespace branchsae::test {
namespace fs = std::filesystem;

TrainOptions small_options(const fs::path& out) {
  TrainOptions options;
  options.taps = {"a", "b"};
  options.out = out;
  options.k = 3;
  options.expansion = 2;
  options.tokens = 14 * 24 - 5;
  options.batch = 24;
  options.buffer_tokens = 170;  // 11 images of 16 tokens: 7 batches and 8 tokens that are dropped
  options.forward_batch = 4;
  options.warmup = 3;
  options.log_every = 4;
  options.checkpoint_every = {0, 0};
  return options;
}

TrainResult run_job(const TrainOptions& options, const FakeImages& images, const TrainCallbacks& callbacks,
                    FakeControl control, const Graph& graph) {
  return run_job_on(fake_device(control), options, images, callbacks, graph);
}

TrainResult run_job_on(const Device& device, const TrainOptions& options, const FakeImages& images,
                       const TrainCallbacks& callbacks, const Graph& graph) {
  RunOrigin origin;
  origin.model_path = "/models/fake.onnx";
  origin.images = {"/photos"};
  return train(device, graph, images, options, origin, callbacks);
}

TrainCallbacks stop_after(int64_t step) {
  auto made = std::make_shared<int64_t>(0);
  TrainCallbacks callbacks;
  callbacks.progress = [made](const TrainProgress& progress) { *made = progress.step; };
  callbacks.stop_requested = [made, step] { return *made >= step; };
  return callbacks;
}

std::map<std::string, std::string> result_files(const fs::path& run) {
  std::map<std::string, std::string> files;
  const RunInfo info = read_run(run);
  const model::CheckpointStore store(run);
  for (const RunTap& tap : info.taps) {
    for (const char* name : {"sae.safetensors", "config.json", "eval.json"}) {
      const fs::path path = run / tap.folder / name;
      if (fs::exists(path)) files[tap.folder + "/" + name] = read_file(path);
    }
    files[tap.folder + "/state"] =
        read_file(store.folder(store.current()->step) / tap.folder / "state.safetensors");
  }
  return files;
}

}  // namespace branchsae::test
