/// Uses the installed library from end to end: writes a small model, runs it, trains on what a branch
/// computes.
#include <cstdio>
#include <filesystem>
#include <vector>

#include "engine/device.h"
#include "engine/error.h"
#include "loader/onnx_loader.h"
#include "loader/synthetic.h"
#include "model/sae_trainer.h"

int main(int argc, char** argv) try {
  const std::filesystem::path folder = argc > 1 ? argv[1] : ".";
  branchsae::write_synthetic_inception(folder / "model.onnx", {.width_divisor = 8, .classes = 10});
  const branchsae::Graph graph = branchsae::load_onnx(folder / "model.onnx");

  const branchsae::Device device = branchsae::Device::open("cpu", 2);
  const auto stream = device.make_stream();
  branchsae::Program program = device.compile(graph, {.taps = {"mixed4c.5x5"}, .max_batch = 1});

  std::vector<float> pixels(224 * 224 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i * 7919 % 256) - 128.0F;
  auto images = device.backend().buffer<float>(static_cast<int64_t>(pixels.size()), "images");
  device.backend().copy_to_device(*stream, images.data(), pixels.data(), images.size() * 4);
  program.run(branchsae::View<const float, 4>(images.data(), {1, 224, 224, 3}), *stream);

  const auto tokens = program.tap("mixed4c.5x5").tokens();
  std::printf("mixed4c.5x5: %d tokens of %d channels\n", static_cast<int>(tokens.shape[0]),
              static_cast<int>(tokens.shape[1]));

  branchsae::SaeTrainer trainer(device,
                                {.d = tokens.shape[1], .n = 4 * tokens.shape[1], .k = 4, .batch = 256});
  trainer.step(tokens, *stream);
  trainer.step(tokens, *stream);
  std::printf("trained %d steps\n", static_cast<int>(trainer.steps()));
  return 0;
} catch (const branchsae::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code();
}
