// Bad input: exit code 2, one line, nothing written.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <unistd.h>

#include <fstream>
#include <functional>

#include "engine/files.h"
#include "engine/npy.h"
#include "tests/apps/scene.h"
#include "tests/loader/onnx_builder.h"
#include "tests/test_data.h"

using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every command that reads a model refuses this one, in one line that has all of `parts`.
void check_model_refused(const std::string& model, const Words& parts) {
  const fs::path out = temporary_folder() / "out";
  for (const Words& command : {Words{"inspect", model}, Words{"classify", model, scene().images},
                               Words{"capture", model, scene().images, "--tap", "x", "--out", out.string()},
                               Words{"train", model, scene().images, "--tap", "x", "--out", out.string()}}) {
    const std::string line = run_refused(command);
    for (const std::string& part : parts) {
      CAPTURE(line);
      CAPTURE(part);
      CHECK(contains(line, part));
    }
    CHECK_FALSE(fs::exists(out));
  }
}

void check_refused(const OnnxBuilder& builder, const Words& parts) {
  check_model_refused(builder.save().string(), parts);
}

/// data [N, 3, 8, 8] into a convolution.
OnnxBuilder small_model() {
  OnnxBuilder builder;
  builder.input("data", {branchsae::kDynamic, 3, 8, 8}).weights("w", {4, 3, 3, 3}).output("y");
  return builder;
}

/// A ustar header and the member's bytes, filled up to whole blocks.
std::string tar_member(const std::string& name, const std::string& bytes) {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 7, "0000644");
  header.replace(124, 11, fmt::format("{:011o}", bytes.size()));
  header.replace(136, 11, "00000000000");
  header.replace(148, 8, 8, ' ');
  header[156] = '0';
  header.replace(257, 8, std::string("ustar\00000", 8));
  int64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 6, fmt::format("{:06o}", sum));
  return header + bytes + std::string((512 - bytes.size() % 512) % 512, '\0');
}

/// capture and train refuse these images, and leave nothing.
void check_images_refused(const std::string& images, const std::string& part) {
  const fs::path out = temporary_folder() / "out";
  for (const Words& command :
       {Words{"classify", scene().model, images},
        Words{"capture", scene().model, images, "--tap", "mixed4c", "--out", out.string()},
        Words{"train", scene().model, images, "--tap", "mixed4c", "--out", out.string()}}) {
    const std::string line = run_refused(command);
    CAPTURE(line);
    CHECK(contains(line, part));
    CHECK_FALSE(fs::exists(out));
  }
}

Words train(const Words& more) {
  return Words{"train",    scene().model, scene().images, "--tap", "mixed4c.5x5",
               "--tokens", "1k",          "--batch",      "64"} +
         kSmall + more;
}

}  // namespace

TEST_CASE("files that are no model") {
  const fs::path folder = temporary_folder();
  const std::string whole = branchsae::read_file(scene().model);
  std::ofstream(folder / "cut.onnx", std::ios::binary) << whole.substr(0, whole.size() / 2);
  std::ofstream(folder / "empty.onnx");
  std::ofstream(folder / "text.onnx") << "this is no model\n";
  for (const char* name : {"cut.onnx", "empty.onnx", "text.onnx"}) {
    CAPTURE(name);
    check_model_refused((folder / name).string(), {name});
  }
  check_model_refused((folder / "absent.onnx").string(), {"absent.onnx"});
  CHECK(contains(run_refused({"classify", folder.string(), scene().images}), folder.string()));
  check_model_refused(scene().images + "/n01440764/picture_0.ppm", {"picture_0.ppm"});
}

TEST_CASE("an operator that is not supported is named with its node") {
  OnnxBuilder builder = small_model();
  builder.node("ConvTranspose", {"data", "w"}, {"y"}, "deconv7");
  check_refused(builder, {"deconv7", "ConvTranspose", "Conv,"});
}

TEST_CASE("shapes that do not fit") {
  OnnxBuilder builder = small_model();
  builder.weights("bad", {4, 5, 3, 3});
  builder.node("Conv", {"data", "bad"}, {"y"}, "conv9");
  check_refused(builder, {"conv9", "5"});
}

TEST_CASE("a cyclic graph") {
  OnnxBuilder builder = small_model();
  builder.node("Add", {"data", "b"}, {"a"}, "first");
  builder.node("Relu", {"a"}, {"b"}, "second");
  builder.node("Relu", {"b"}, {"y"}, "third");
  check_refused(builder, {});
}

TEST_CASE("an initialiser with fewer bytes than its shape, and one of absurd size") {
  OnnxBuilder few = small_model();
  auto& initialiser = *few.graph().mutable_initializer(0);
  initialiser.clear_float_data();
  initialiser.set_raw_data(std::string(4 * 100, '\0'));
  few.node("Conv", {"data", "w"}, {"y"}, "conv");
  check_refused(few, {"w", "400"});

  OnnxBuilder absurd = small_model();
  auto& huge = *absurd.graph().mutable_initializer(0);
  huge.clear_float_data();
  huge.set_dims(0, int64_t{1} << 40);
  huge.set_dims(1, int64_t{1} << 40);
  absurd.node("Conv", {"data", "w"}, {"y"}, "conv");
  check_refused(absurd, {"w"});
}

TEST_CASE("external data outside the model's folder") {
  OnnxBuilder builder = small_model();
  auto& initialiser = *builder.graph().mutable_initializer(0);
  initialiser.clear_float_data();
  initialiser.set_data_location(::onnx::TensorProto::EXTERNAL);
  auto& entry = *initialiser.add_external_data();
  entry.set_key("location");
  entry.set_value("../../../../etc/passwd");
  builder.node("Conv", {"data", "w"}, {"y"}, "conv");
  check_refused(builder, {"passwd"});
}

TEST_CASE("a tap that does not exist lists the nearest names") {
  const fs::path out = temporary_folder() / "out";
  for (const char* command : {"capture", "train"}) {
    const std::string line =
        run_refused({command, scene().model, scene().images, "--tap", "mixed4c.5x6", "--out", out.string()});
    CHECK(contains(line, "'mixed4c.5x6'"));
    CHECK(contains(line, "mixed4c.5x5"));
    CHECK_FALSE(fs::exists(out));
  }
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--tap", "mixed4c.5x5:8", "--out",
                              out.string()}),
                 "channel 8"));
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--tap", "mixed3a+mixed5a", "--out",
                              out.string()}),
                 "grid"));
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--tap", "mixed4a,mixed4a", "--out",
                              out.string()}),
                 "mixed4a"));
}

TEST_CASE("images: a folder without any, only broken ones, none at all") {
  const fs::path folder = temporary_folder();
  check_images_refused(folder.string(), folder.string());
  check_images_refused((folder / "absent").string(), "absent");
  std::ofstream(folder / "a.jpg");
  std::ofstream(folder / "b.jpg") << "\xff\xd8\xff\xe0 not really";
  check_images_refused(folder.string(), "b.jpg");
}

TEST_CASE("numbers that cannot work") {
  const fs::path out = temporary_folder() / "out";
  const Words to = {"--out", out.string()};
  CHECK(contains(run_refused(train(to + Words{"--k", "0"})), "--k"));
  CHECK(contains(run_refused(train(to + Words{"--batch", "0"})), "--batch"));
  CHECK(contains(run_refused(train(to + Words{"--k", "17", "--expansion", "2"})), "17"));  // n = 2 x 8
  CHECK(contains(run_refused(train(to + Words{"--holdout", "0.9"})), "--holdout"));
  CHECK(contains(run_refused(train(to + Words{"--lr", "0"})), "--lr"));
  CHECK(contains(run_refused(train(to + Words{"--lr", "fast"})), "--lr"));
  CHECK(contains(run_refused(train(to + Words{"--lr-schedule", "square"})), "--lr-schedule"));
  CHECK(contains(run_refused(train(to + Words{"--checkpoint-every", "soon"})), "--checkpoint-every"));
  CHECK(contains(run_refused(train(to + Words{"--precision", "fp64"})),
                 "--precision must be fp32, tf32 or bf16"));
  CHECK(contains(run_refused(train(to + Words{"--precision", "bf16", "--device", "cpu"})),
                 "--precision bf16 is not offered by cpu"));
  CHECK(contains(run_refused(train(to + Words{"--conv", "winograd"})), "--conv must be auto or direct"));
  CHECK(contains(run_refused(train(to + Words{"--preset", "papre"})), "--preset"));
  CHECK(contains(run_refused(train(to + Words{"--epochs", "2"})), "--epochs"));
  CHECK(contains(run_refused(train(to + Words{"--epochs", "0"})), "--epochs must be a number above 0"));
  CHECK(contains(run_refused({"capture", scene().model, scene().images, "--tap", "mixed4c", "--batch", "0",
                              "--out", out.string()}),
                 "--batch"));
  for (const char* command : {"capture", "classify"}) {
    const Words on = Words{command, scene().model, scene().images, "--device", "cpu", "--precision"};
    const Words rest =
        std::string(command) == "capture" ? Words{"--tap", "mixed4c", "--out", out.string()} : Words{};
    CHECK(contains(run_refused(on + Words{"bf16"} + rest), "bf16"));
    CHECK(contains(run_refused(on + Words{"fp64"} + rest), "--precision"));
    CHECK(contains(run_refused(on + Words{"fp32", "--conv", "winograd"} + rest), "--conv"));
  }
  CHECK(contains(run_refused(train(to + Words{"--crop", "128", "--resize", "64"})), "--resize"));
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("images of a size or depth that the network does not allow") {
  OnnxBuilder builder = small_model();
  builder.node("Conv", {"data", "w"}, {"y"}, "conv");
  const std::string model = builder.save().string();
  const fs::path folder = temporary_folder(), out = folder / "out";
  branchsae::write_npy(folder / "large.npy", "<f4", {1, 3, 16, 16}, std::string(4 * 3 * 16 * 16, '\0'));
  branchsae::write_npy(folder / "deep.npy", "<f4", {1, 4, 8, 8}, std::string(4 * 4 * 8 * 8, '\0'));
  branchsae::write_npy(folder / "u8.npy", "|u1", {1, 8, 8, 3}, std::string(3 * 8 * 8, '\0'));
  const auto refused = [&](const char* images) {
    return run_refused({"capture", model, (folder / images).string(), "--tap", "y", "--out", out.string()});
  };
  CHECK(contains(refused("large.npy"), "16"));
  CHECK(contains(refused("deep.npy"), "4"));
  CHECK(contains(refused("u8.npy"), "--preprocess"));  // nothing about this model says how to prepare pixels
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("a device that is not there") {
  run_refused({"inspect", scene().model, "--threads", "-1"});
  CHECK(contains(run_refused({"classify", scene().model, scene().images, "--device", "tpu"}), "tpu"));
  // None of these machines has a hundred GPUs.
  const fs::path out = temporary_folder() / "out";
  for (const Words& command :
       {Words{"classify", scene().model, scene().images}, train({"--out", out.string()}),
        Words{"capture", scene().model, scene().images, "--tap", "mixed4c", "--out", out.string()}}) {
    const ProcessResult result = run_program(command + Words{"--device", "cuda:99"});
    CAPTURE(result.err);
    CHECK(result.code == 1);
    CHECK(result.out.empty());
    CHECK(result.error_lines().size() == 1);
    CHECK_FALSE(fs::exists(out));
  }
}

#ifdef BRANCHSAE_FAKE_DRIVERS
TEST_CASE(
    "a driver that is too old, or finds no device, is named in one line; auto takes the CPU and says why") {
  for (const auto& [fault, reason] :
       {std::pair{"too_old", "the CUDA driver is too old: it supports CUDA 11.4"},
        std::pair{"no_device", "a CUDA driver is installed but no device answers"}}) {
    ProcessOptions options;
    options.environment = {{"LD_LIBRARY_PATH", std::string(BRANCHSAE_FAKE_DRIVERS "/fake_driver_") + fault}};
    const Words classify = Words{"classify", scene().model, scene().images} + kSmall;
    const ProcessResult asked = run_program(classify + Words{"--device", "cuda"}, options);
    CAPTURE(asked.err);
    CHECK(asked.code == 1);
    CHECK(asked.err_lines().size() == 1);
    CHECK(contains(asked.err, reason));
    CHECK(contains(asked.err, "use --device cpu"));
    const ProcessResult automatic = run_program(classify, options);
    CAPTURE(automatic.err);
    CHECK(automatic.code == 0);
    CHECK(contains(automatic.err, std::string("using the CPU: ") + reason));
  }
}
#endif

TEST_CASE("a run on a shard that is cut off begins, goes on and is evaluated with what the shard has left") {
  const fs::path folder = temporary_folder(), run = folder / "run";
  for (const int shard : {0, 1}) {
    std::string tar;
    for (int i = 0; i < 6; ++i) {
      const int which = 6 * shard + i;
      write_ppm(folder / "one.ppm", 64, 64, drawn_pixels(64, 64, which));
      tar += tar_member(fmt::format("{}.ppm", which), branchsae::read_file(folder / "one.ppm"));
    }
    tar += std::string(1024, '\0');
    if (shard == 0) tar.resize(4 * (512 + 12800) + 700);  // within the fifth
    std::ofstream(folder / fmt::format("{}.tar", shard), std::ios::binary) << tar;
  }
  std::ofstream(folder / "2.tar");
  Words words = train_arguments(run, {"--k", "3"}, "mixed4d");
  words[2] = (folder / "{0..2}.tar").string();
  const ProcessResult first = run_program(words);
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  CHECK(contains(first.err, "0.tar' is cut off inside '4.ppm'"));
  CHECK(contains(first.err, "the 4 images before it are kept"));
  CHECK(contains(first.err, "2.tar' is empty"));
  CHECK(run_json({"inspect", run.string()})["images_count"] == 10);
  CHECK(run_json({"train", "--resume", run.string(), "--tokens", "704"})["step"] == 11);
  CHECK(run_json({"eval", run.string(), "--no-splice"})["evaluations"].size() == 1);
  words[6] = (folder / "strict").string();
  CHECK(contains(run_refused(words + Words{"--strict"}), "--strict"));
  CHECK_FALSE(fs::exists(folder / "strict"));
}

TEST_CASE("output folders that cannot be") {
  const fs::path folder = temporary_folder();
  std::ofstream(folder / "file") << "kept";
  for (const fs::path& out : {folder / "file", folder / "file" / "below", fs::path("/dev/null/x")}) {
    CAPTURE(out.string());
    const Words to = {"--out", out.string()};
    run_refused(Words{"capture", scene().model, scene().images, "--tap", "mixed4c"} + kSmall + to);
    run_refused(train(to));
  }
  CHECK(branchsae::read_file(folder / "file") == "kept");
}

TEST_CASE("a folder that may not be written to") {
  if (::geteuid() == 0) return skip("root may write anywhere");
  const fs::path folder = temporary_folder();
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  run_refused(train({"--out", (folder / "run").string()}));
  fs::permissions(folder, fs::perms::owner_all);
}
