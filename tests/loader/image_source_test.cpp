#include "loader/image_source.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "engine/log.h"
#include "engine/npy.h"
#include "tests/loader/image_files.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

const ImageOptions kSmall{.resize = 16, .crop = 14};

std::string colour(uint8_t r, uint8_t g, uint8_t b) {
  return encode_png(flat(20, 16, r, g, b));
}

/// Names without the folder.
std::vector<std::string> names_of(const ImageSource& source, const fs::path& folder) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < source.size(); ++i) {
    std::string name = source.info(i).name;
    const std::string prefix = folder.string() + "/";
    names.push_back(name.starts_with(prefix) ? name.substr(prefix.size()) : name);
  }
  return names;
}

std::vector<int32_t> labels_of(const ImageSource& source) {
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < source.size(); ++i) labels.push_back(source.info(i).label);
  return labels;
}

/// The red of the first pixel, or the reason.
std::string red_of(const ImageSource& source, int64_t index) {
  std::vector<uint8_t> pixels(static_cast<size_t>(source.image_bytes()));
  const std::string reason = source.read_centre(index, pixels.data());
  return reason.empty() ? std::to_string(pixels[0]) : reason;
}

std::string refusal_of(const std::string& spec, const ImageOptions& options = kSmall) {
  try {
    open_images(spec, options);
  } catch (const InputError& error) {
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Collects warnings while it lives.
struct Warnings {
  std::vector<std::string> messages;
  Warnings() {
    set_log_sink([this](LogLevel level, const std::string& message) {
      if (level == LogLevel::kWarning) messages.push_back(message);
    });
  }
  ~Warnings() { set_log_sink({}); }
};

}  // namespace

TEST_CASE("a folder gives its images and those below, sorted by bytes, labelled") {
  const fs::path folder = temporary_folder();
  write_bytes(folder / "b.PNG", colour(1, 0, 0));
  write_bytes(folder / "Z.png", colour(2, 0, 0));
  write_bytes(folder / "a" / "n01440764_7.png", colour(3, 0, 0));
  write_bytes(folder / "n01443537" / "x.png", colour(4, 0, 0));
  write_bytes(folder / "5" / "y.png", colour(5, 0, 0));
  write_bytes(folder / "a-b.png", colour(6, 0, 0));  // '-' sorts before '/'
  write_bytes(folder / "without_extension", colour(7, 0, 0));
  write_bytes(folder / "lying.jpg", colour(8, 0, 0));  // the content decides
  write_bytes(folder / "notes.txt", "no image");
  write_bytes(folder / "README", "BM no image either, in spite of its letters");
  write_bytes(folder / ".hidden.png", colour(9, 0, 0));
  write_bytes(folder / ".git" / "z.png", colour(9, 0, 0));

  const auto source = open_images(folder.string(), kSmall);
  CHECK(names_of(*source, folder) == std::vector<std::string>{"5/y.png", "Z.png", "a-b.png",
                                                              "a/n01440764_7.png", "b.PNG", "lying.jpg",
                                                              "n01443537/x.png", "without_extension"});
  CHECK(labels_of(*source) == std::vector<int32_t>{5, -1, -1, 0, -1, -1, 1, -1});
  CHECK(source->height() == 14);
  CHECK(source->width() == 14);
  CHECK(source->channels() == 3);
  CHECK(source->format() == PixelFormat::kU8Rgb);
  const char* reds[] = {"5", "2", "6", "3", "1", "8", "4", "7"};
  for (int64_t i = 0; i < source->size(); ++i) CHECK(red_of(*source, i) == reds[i]);
}

TEST_CASE("a trailing slash, the folder's own WordNet id, and a single image") {
  const fs::path folder = temporary_folder() / "n01443537";
  write_bytes(folder / "x.png", colour(4, 0, 0));
  for (const std::string& spec : {folder.string(), folder.string() + "/", folder.string() + "/x.png"}) {
    CAPTURE(spec);
    const auto source = open_images(spec, kSmall);
    REQUIRE(source->size() == 1);
    CHECK(source->info(0).name == folder.string() + "/x.png");
    CHECK(source->info(0).label == 1);
    CHECK(red_of(*source, 0) == "4");
  }
}

TEST_CASE("the fingerprint tells names and sizes apart, not places") {
  const auto make = [](const std::string& name, const std::string& bytes) {
    const fs::path folder = temporary_folder();
    write_bytes(folder / "sub" / "a.png", colour(1, 2, 3));
    write_bytes(folder / "sub" / name, bytes);
    return open_images(folder.string(), kSmall)->fingerprint();
  };
  const std::string same = make("b.png", "12345");
  CHECK(same.size() == 64);
  CHECK(make("b.png", "12345") == same);
  CHECK(make("b.png", "54321") == same);  // the same size: not looked into
  CHECK(make("b.png", "123456") != same);
  CHECK(make("c.png", "12345") != same);
}

TEST_CASE("broken files of every kind are unreadable with a reason, and neither crash nor block") {
  const fs::path folder = temporary_folder();
  const std::string good = colour(1, 0, 0);
  write_bytes(folder / "a_good.png", good);
  write_bytes(folder / "b_empty.jpg", "");
  write_bytes(folder / "c_text.jpg", "<html>not found</html>");
  write_bytes(folder / "d_cut.png", good.substr(0, good.size() / 2));
  fs::create_directories(folder / "e_folder.jpg");
  REQUIRE(::mkfifo((folder / "f_fifo.jpg").c_str(), 0600) == 0);
  fs::create_symlink("nowhere", folder / "g_broken_link.jpg");
  fs::create_symlink("h_circle.jpg", folder / "h_circle.jpg");
  write_bytes(folder / "i_photo.webp", std::string("RIFF\0\0\0\0WEBPVP8 ", 16));
  write_bytes(folder / "j_folder.png" / "k_inside.png", good);

  const auto source = open_images(folder.string(), kSmall);
  const char* reasons[] = {"",
                           "is empty",
                           "is no JPEG, PNG, BMP, GIF, TGA or PNM image",
                           "premature end of file",
                           "is a folder",
                           "is not a regular file",
                           "does not exist",
                           "circle",
                           "WebP",
                           ""};
  REQUIRE(source->size() == 10);
  std::vector<uint8_t> pixels(static_cast<size_t>(source->image_bytes()));
  for (int64_t i = 0; i < 10; ++i) {
    CAPTURE(source->info(i).name);
    const std::string reason = source->read_centre(i, pixels.data());
    CAPTURE(reason);
    CHECK((*reasons[i] == '\0' ? reason.empty() : contains(reason, reasons[i])));
    CHECK(reason.find('\n') == std::string::npos);
  }
}

TEST_CASE("a file without permission is unreadable") {
  if (::geteuid() == 0) {
    skip("root reads everything");
    return;
  }
  const fs::path folder = temporary_folder();
  write_bytes(folder / "x.png", colour(1, 0, 0));
  fs::permissions(folder / "x.png", fs::perms::none);
  CHECK(contains(red_of(*open_images(folder.string(), kSmall), 0), "permission"));
}

TEST_CASE("caps on bytes and pixels") {
  const fs::path folder = temporary_folder();
  const std::string file = colour(1, 0, 0);
  write_bytes(folder / "x.png", file);
  const auto bytes = static_cast<int64_t>(file.size());
  ImageOptions options = kSmall;
  options.max_file_bytes = bytes;
  options.max_pixels = 20 * 16;
  CHECK(red_of(*open_images(folder.string(), options), 0) == "1");
  options.max_file_bytes = bytes - 1;
  CHECK(contains(red_of(*open_images(folder.string(), options), 0), std::to_string(bytes)));
  options.max_file_bytes = bytes;
  options.max_pixels = 20 * 16 - 1;
  CHECK(contains(red_of(*open_images(folder.string(), options), 0), "20x16"));
}

TEST_CASE("symbolic links are followed, once, and may loop") {
  const fs::path folder = temporary_folder();
  const fs::path elsewhere = temporary_folder();
  write_bytes(folder / "real" / "a.png", colour(1, 0, 0));
  write_bytes(elsewhere / "b.png", colour(2, 0, 0));
  fs::create_directory_symlink("..", folder / "real" / "loop");
  fs::create_directory_symlink("real", folder / "also_real");
  fs::create_directory_symlink(elsewhere, folder / "linked");
  fs::create_symlink("real/a.png", folder / "z.png");
  const auto source = open_images(folder.string(), kSmall);
  CHECK(names_of(*source, folder) == std::vector<std::string>{"linked/b.png", "real/a.png", "z.png"});
}

TEST_CASE("names with odd bytes are readable and print as UTF-8") {
  const fs::path folder = temporary_folder();
  write_bytes(folder / "caf\xC3\xA9.png", colour(1, 0, 0));
  write_bytes(folder / "latin\xE9.png", colour(2, 0, 0));
  write_bytes(folder / "new\nline.png", colour(3, 0, 0));
  write_bytes(folder / "back\\slash.png", colour(4, 0, 0));
  write_bytes(folder / "list.txt", "latin\xE9.png\n");
  const auto source = open_images(folder.string(), kSmall);
  CHECK(names_of(*source, folder) == std::vector<std::string>{"back\\\\slash.png", "caf\xC3\xA9.png",
                                                              "latin\\xe9.png", "new\\x0aline.png"});
  for (int64_t i = 0; i < 4; ++i)
    CHECK(red_of(*source, i) == std::to_string(std::array{4, 1, 2, 3}[static_cast<size_t>(i)]));
  CHECK(red_of(*open_images((folder / "list.txt").string(), kSmall), 0) == "2");
  CHECK(red_of(*open_images((folder / "new\nline.png").string(), kSmall), 0) == "3");
}

TEST_CASE("a text list: relative to its folder, labels after a tab or spaces, comments") {
  const fs::path folder = temporary_folder();
  const fs::path outside = temporary_folder();
  write_bytes(folder / "in" / "b.png", colour(1, 0, 0));
  write_bytes(folder / "a 7", colour(2, 0, 0));
  write_bytes(folder / "my photo.png", colour(3, 0, 0));
  write_bytes(folder / "n01443537" / "c.png", colour(5, 0, 0));
  write_bytes(outside / "d.png", colour(4, 0, 0));
  write_bytes(folder / "list.txt",
              "\xEF\xBB\xBF# photos\r\n\r\nin/b.png\tn01440764\r\n  a 7\nmy photo.png 12\n" +
                  (outside / "d.png").string() + "  3\nmissing.png\nn01443537/c.png");
  const auto source = open_images((folder / "list.txt").string(), kSmall);
  CHECK(names_of(*source, folder) == std::vector<std::string>{(outside / "d.png").string(), "a 7", "in/b.png",
                                                              "missing.png", "my photo.png",
                                                              "n01443537/c.png"});
  CHECK(labels_of(*source) == std::vector<int32_t>{3, -1, 0, -1, 12, 1});
  const char* reds[] = {"4", "2", "1", "does not exist", "3", "5"};
  for (int64_t i = 0; i < source->size(); ++i) CHECK(red_of(*source, i) == reds[i]);
}

TEST_CASE("labels that the class list does not have are counted in one warning") {
  const fs::path folder = temporary_folder();
  write_bytes(folder / "n99999998" / "a.png", colour(1, 0, 0));
  write_bytes(folder / "n99999999" / "b.png", colour(1, 0, 0));
  write_bytes(folder / "n01440764" / "c.png", colour(1, 0, 0));
  write_bytes(folder / "unlabelled" / "c.png", colour(1, 0, 0));
  const Warnings warnings;
  const auto source = open_images(folder.string(), kSmall);
  CHECK(labels_of(*source) == std::vector<int32_t>{0, -1, -1, -1});
  REQUIRE(warnings.messages.size() == 1);
  CHECK(contains(warnings.messages[0], "2 of 3"));
  CHECK(contains(warnings.messages[0], "n99999998/a.png"));

  ImageOptions options = kSmall;
  options.classes = std::make_shared<ClassList>(
      std::vector<ClassInfo>{{"n99999999", "x"}, {"n99999998", "y"}, {"n01440764", "z"}}, "test");
  CHECK(labels_of(*open_images(folder.string(), options)) == std::vector<int32_t>{2, 1, 0, -1});
  CHECK(warnings.messages.size() == 1);
}

TEST_CASE(".npy: cropped RGB as it is, preprocessed planes interleaved") {
  const fs::path folder = temporary_folder();
  std::vector<uint8_t> bytes(2 * 3 * 4 * 3);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  const auto chars = [](const auto& values) {
    return std::span<const char>(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof values[0]);
  };
  write_npy(folder / "u8.npy", "|u1", {2, 3, 4, 3}, chars(bytes));
  const auto u8 = open_images((folder / "u8.npy").string());
  REQUIRE(u8->size() == 2);
  CHECK(u8->info(1).name == (folder / "u8.npy[1]").string());
  CHECK(u8->height() == 3);
  CHECK(u8->width() == 4);
  std::vector<uint8_t> pixels(static_cast<size_t>(u8->image_bytes()));
  CHECK(u8->read_centre(1, pixels.data()) == "");
  CHECK(pixels == std::vector<uint8_t>(bytes.begin() + 36, bytes.end()));

  std::vector<float> planes(2 * 3 * 2 * 5);
  for (size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<float>(i);
  write_npy(folder / "f32.npy", "<f4", {2, 3, 2, 5}, chars(planes));
  const auto f32 = open_images((folder / "f32.npy").string());
  REQUIRE(f32->size() == 2);
  CHECK(f32->format() == PixelFormat::kF32);
  CHECK(f32->height() == 2);
  CHECK(f32->width() == 5);
  std::vector<float> interleaved(static_cast<size_t>(f32->image_bytes()) / 4);
  CHECK(f32->read_centre(1, interleaved.data()) == "");
  for (size_t i = 0; i < 10; ++i) {
    for (size_t c = 0; c < 3; ++c) CHECK(interleaved[3 * i + c] == 30.0F + static_cast<float>(10 * c + i));
  }
  CHECK(f32->fingerprint() != u8->fingerprint());

  write_npy(folder / "f64.npy", "<f8", {1, 3, 1, 1}, chars(std::vector<double>(3)));
  write_npy(folder / "planes_u8.npy", "|u1", {1, 3, 4, 4}, chars(std::vector<uint8_t>(48)));
  write_npy(folder / "none.npy", "|u1", {0, 4, 4, 3}, {});
  for (const char* name : {"f64.npy", "planes_u8.npy", "none.npy"}) {
    CHECK(contains(refusal_of((folder / name).string()), name));
  }
  CHECK(contains(refusal_of((folder / "u8.npy").string() + "," + (folder / "f32.npy").string()), "joined"));
}

TEST_CASE("specs joined by commas and braces keep the order given") {
  const fs::path folder = temporary_folder();
  for (const char* name : {"s0/a.png", "s1/b.png", "s2/c.png", "odd,name/d.png", "s09/e.png", "s10/f.png"}) {
    write_bytes(folder / name, colour(1, 0, 0));
  }
  const std::string base = folder.string() + "/";
  const auto names = [&](const std::string& spec) { return names_of(*open_images(spec, kSmall), folder); };
  using Names = std::vector<std::string>;
  CHECK(names(base + "s2," + base + "s0") == Names{"s2/c.png", "s0/a.png"});
  CHECK(names(base + "s{0..2}") == Names{"s0/a.png", "s1/b.png", "s2/c.png"});
  CHECK(names(base + "s{2..1}") == Names{"s2/c.png", "s1/b.png"});
  CHECK(names(base + "s{09..10}") == Names{"s09/e.png", "s10/f.png"});
  CHECK(names(base + "{s0/a,s{1/b,2/c}}.png") == Names{"s0/a.png", "s1/b.png", "s2/c.png"});
  CHECK(names(base + "odd,name") == Names{"odd,name/d.png"});
}

TEST_CASE("several specs read through one source") {
  const fs::path folder = temporary_folder();
  write_bytes(folder / "x" / "a.png", colour(1, 0, 0));
  write_bytes(folder / "x" / "b.png", colour(2, 0, 0));
  write_bytes(folder / "y" / "c.png", colour(3, 0, 0));
  const auto source =
      open_images(std::vector<std::string>{(folder / "y").string(), (folder / "x").string()}, kSmall);
  REQUIRE(source->size() == 3);
  CHECK(red_of(*source, 0) == "3");
  CHECK(red_of(*source, 1) == "1");
  CHECK(red_of(*source, 2) == "2");
  CHECK(source->fingerprint().size() == 64);
  CHECK_THROWS(source->info(3));
  CHECK_THROWS(source->info(-1));
}

TEST_CASE("what holds no images is refused with one line that helps") {
  const fs::path folder = temporary_folder();
  write_bytes(folder / "photos" / "a.png", colour(1, 0, 0));
  write_bytes(folder / "model.onnx", std::string("\x08\x07\x12\x07pytorch\0\x01", 13));
  write_bytes(folder / "list.txt", "nowhere/1.jpg\nnowhere/2.jpg\n");
  write_bytes(folder / "empty.txt", "");
  write_bytes(folder / "comments.txt", "# nothing\n");
  write_bytes(folder / "fake.npy", "not numpy");
  fs::create_directories(folder / "nothing" / "here");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const std::string base = folder.string() + "/";
  CHECK(contains(refusal_of(base + "photo"), "nearest name there is 'photos'"));
  CHECK(contains(refusal_of(base + "no/such/place"), "of its path only '" + folder.string() + "' exists"));
  CHECK(contains(refusal_of(base + "zzzzzzzz"), "does not exist"));
  CHECK(contains(refusal_of(base + "nothing"), "no image in"));
  CHECK(contains(refusal_of(base + "nothing"), ".jpg"));
  CHECK(contains(refusal_of(base + "comments.txt"), "no image in"));
  CHECK(contains(refusal_of(base + "empty.txt"), "is empty"));
  CHECK(contains(refusal_of(base + "model.onnx"), "holds no images"));
  CHECK(contains(refusal_of(base + "list.txt"), "none of the 2 files"));
  CHECK(contains(refusal_of(base + "fake.npy"), "fake.npy"));
  CHECK(contains(refusal_of(base + "pipe"), "is not a regular file"));
  CHECK(contains(refusal_of(base + "photos,,x"), "empty part"));
  CHECK(contains(refusal_of(base + "{1..2"), "braces"));
  CHECK(contains(refusal_of(base + "1..2}"), "braces"));
  CHECK(contains(refusal_of(base + "{1..9999999999}"), "more than"));
  CHECK(contains(refusal_of(base + "{1..1000}{1..1000}"), "more than"));
  CHECK(contains(refusal_of(std::string(60, '{') + std::string(60, '}')), "more than 50 braces"));
  CHECK(contains(refusal_of(base + "x{0..3}.tar"), "x0.tar' does not exist"));
  CHECK(refusal_of("") != "");
  CHECK(refusal_of(base + std::string(5000, 'x')) != "");
  CHECK_THROWS_AS(open_images(std::vector<std::string>{}), InputError);
  CHECK(contains(refusal_of(base + "photos", {.resize = 10, .crop = 11}), "crop"));
  CHECK(contains(refusal_of(base + "photos", {.resize = 10, .crop = 0}), "crop"));
  CHECK(contains(refusal_of(base + "photos", {.max_pixels = 0}), "caps"));
}
