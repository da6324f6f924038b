#include "model/disk_cache.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/model/cache_fixture.h"
#include "tests/model/fake_device.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::model;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

const std::vector<CachedTap> kTaps{{"mixed4c.5x5", {4, 6}}, {"mixed4d", {9, 3}}};
const CacheIdentity kIdentity{{"model", "0123"}, {"images", "4567"}};
constexpr int64_t kImages = 11, kPerShard = 4;

DiskCacheOptions options_in(const fs::path& folder, CachePrecision precision = CachePrecision::kF32) {
  return {.folder = folder, .precision = precision, .limit_bytes = 1 << 30, .images_per_shard = kPerShard};
}

/// An image's made-up tokens of all taps.
std::vector<std::vector<float>> tokens_of(int64_t image) {
  std::vector<std::vector<float>> tokens;
  for (const CachedTap& tap : kTaps) {
    auto& values = tokens.emplace_back();
    for (int64_t i = 0; i < tap.extent.positions * tap.extent.width; ++i)
      values.push_back(static_cast<float>(image) + 1.0F / static_cast<float>(i + 3));
  }
  return tokens;
}

void store(DiskCache& cache, int64_t image) {
  const auto tokens = tokens_of(image);
  const std::vector<const float*> pointers{tokens[0].data(), tokens[1].data()};
  cache.store(image, pointers);
}

/// Empty when the image cannot be read.
std::vector<std::vector<float>> read(DiskCache& cache, int64_t image) {
  auto tokens = tokens_of(0);
  const std::vector<float*> pointers{tokens[0].data(), tokens[1].data()};
  if (!cache.read(image, pointers)) tokens.clear();
  return tokens;
}

/// A cache that holds all images, or those of one shard.
fs::path full_cache(const FakeImages& images) {
  const fs::path folder = temporary_folder() / "cache";
  DiskCache cache(options_in(folder), kIdentity, kTaps, images);
  for (int64_t image = 0; image < kImages; ++image) store(cache, image);
  return folder;
}

std::string refusal(const DiskCacheOptions& options, const CacheIdentity& identity,
                    const std::vector<CachedTap>& taps, const ImageSource& images) {
  try {
    const DiskCache cache(options, identity, taps, images);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what is stored is read again, by this process and by the next") {
  const FakeImages images(kImages);
  const fs::path folder = temporary_folder() / "deep" / "cache";
  {
    DiskCache cache(options_in(folder), kIdentity, kTaps, images);
    CHECK(cache.writes());
    for (const int64_t image : {7, 0, 10}) {
      CHECK_FALSE(cache.holds(image));
      store(cache, image);
      CHECK(cache.holds(image));
      CHECK(read(cache, image) == tokens_of(image));
    }
  }
  DiskCache again(options_in(folder), kIdentity, kTaps, images);
  for (int64_t image = 0; image < kImages; ++image) {
    const bool there = image == 0 || image == 7 || image == 10;
    CHECK(again.holds(image) == there);
    if (there) CHECK(read(again, image) == tokens_of(image));
  }
  CHECK(again.images_read() == 3);
  CHECK(again.images_stored() == 0);
  CHECK(fs::exists(folder / "mixed4c.5x5" / "00002.act"));
}

TEST_CASE("bf16 records are the nearest bf16 numbers, and half the size") {
  const FakeImages images(kImages);
  const fs::path folder = temporary_folder() / "cache";
  DiskCache cache(options_in(folder, CachePrecision::kBf16), kIdentity, kTaps, images);
  store(cache, 5);
  const auto expected = tokens_of(5), got = read(cache, 5);
  for (size_t tap = 0; tap < 2; ++tap) {
    for (size_t i = 0; i < expected[tap].size(); ++i) {
      CHECK(got[tap][i] == rounded(expected[tap][i], CachePrecision::kBf16));
      CHECK(std::abs(got[tap][i] - expected[tap][i]) <=
            std::ldexp(expected[tap][i], -8));  // half an ulp: 2^-9
    }
  }
  const auto bf16 = [](float value) { return rounded(value, CachePrecision::kBf16); };
  CHECK(bf16(1.0F + 0x1p-8F) == 1.0F);  // a tie goes to the even neighbour
  CHECK(bf16(1.0F + 3 * 0x1p-8F) == 1.0F + 0x1p-6F);
  CHECK(bf16(1.0F + 0x1p-8F + 0x1p-20F) == 1.0F + 0x1p-7F);
  CHECK(bf16(-0.0F) == 0.0F);
  CHECK(std::signbit(bf16(-0.0F)));
  CHECK(bf16(std::numeric_limits<float>::max()) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(bf16(std::bit_cast<float>(0x7f800001U))));
  CHECK(bf16(bf16(3.14159F)) == bf16(3.14159F));
  const ShardLayout wide{.images = 64, .positions = 196, .width = 64, .precision = CachePrecision::kBf16};
  CHECK(wide.record_bytes() == 196 * 64 * 2);
}

TEST_CASE("any flipped bit of a record, its entry or a header is noticed, said once, and healed") {
  const FakeImages images(kImages);
  const fs::path folder = full_cache(images), path = folder / "mixed4d" / "00001.act";
  const std::string whole = read_file(path);
  const ShardLayout layout{.images = kPerShard, .positions = 9, .width = 3};
  for (const int64_t offset : {int64_t{3}, int64_t{9}, int64_t{63}, int64_t{64 + 16}, int64_t{64 + 16 + 9},
                               layout.record_offset(1), layout.record_offset(1) + 9 * 3 * 4 - 1}) {
    CAPTURE(offset);
    flip_bit(path, offset);
    LogCapture log;
    {
      DiskCache cache(options_in(folder), kIdentity, kTaps, images);
      const bool header = offset < 64;
      for (int64_t image = 4; image < 8; ++image) {
        const bool hurt = header || image == 5;
        const auto got = cache.holds(image) ? read(cache, image) : std::vector<std::vector<float>>{};
        CHECK((got == tokens_of(image)) == !hurt);
        if (hurt) CHECK(got.empty());
        CHECK(cache.holds(image) == !hurt);
        if (hurt) store(cache, image);
      }
      // A magic that is wrong could be anybody's file: it is left alone.
      CHECK(cache.holds(5) == (offset != 3));
    }
    CHECK(log.warnings().size() == 1);
    CHECK(log.mentions("00001.act"));
    if (offset == 3) write_file_atomically(path, whole);
    DiskCache healed(options_in(folder), kIdentity, kTaps, images);
    for (int64_t image = 0; image < kImages; ++image) CHECK(read(healed, image) == tokens_of(image));
  }
}

TEST_CASE("a shard that is cut off loses what was cut, names the file once, and is made whole again") {
  const FakeImages images(kImages);
  const ShardLayout layout{.images = kPerShard, .positions = 9, .width = 3};
  for (const bool while_open : {false, true}) {
    for (const int64_t size : {layout.record_offset(2) + 5, layout.record_offset(0), int64_t{70}, int64_t{10},
                               int64_t{5}, int64_t{0}}) {
      CAPTURE(while_open);
      CAPTURE(size);
      const fs::path folder = full_cache(images), path = folder / "mixed4d" / "00001.act";
      LogCapture log;
      if (!while_open) fs::resize_file(path, static_cast<uintmax_t>(size));
      {
        DiskCache cache(options_in(folder), kIdentity, kTaps, images);
        if (while_open) fs::resize_file(path, static_cast<uintmax_t>(size));
        for (int64_t image = 0; image < kImages; ++image) {
          if (cache.holds(image) && !read(cache, image).empty()) continue;
          CHECK(image / kPerShard == 1);
          store(cache, image);
        }
        // Five bytes could be the beginning of any file, so nobody overwrites them.
        if (size == 5 && !while_open) continue;
        for (int64_t image = 0; image < kImages; ++image) CHECK(read(cache, image) == tokens_of(image));
      }
      CHECK(log.warnings().size() == 1);
      CHECK(log.mentions("00001.act"));
      DiskCache healed(options_in(folder), kIdentity, kTaps, images);
      for (int64_t image = 0; image < kImages; ++image) CHECK(read(healed, image) == tokens_of(image));
      CHECK(log.warnings().size() == 1);
    }
  }
}

TEST_CASE("a shard that is gone or is another file costs its images' time only") {
  const FakeImages images(kImages);
  const fs::path folder = full_cache(images), path = folder / "mixed4c.5x5" / "00000.act";
  LogCapture log;
  {
    DiskCache cache(options_in(folder), kIdentity, kTaps, images);
    fs::remove(path);
    for (const int64_t image : {0, 1, 2, 3}) CHECK(read(cache, image).empty());
    CHECK(log.warnings().size() == 1);
    CHECK(log.mentions("the file is gone"));
    CHECK(log.mentions("image0.jpg"));
    for (const int64_t image : {0, 1, 2, 3}) store(cache, image);
    for (const int64_t image : {0, 1, 2, 3}) CHECK(read(cache, image) == tokens_of(image));
  }
  write_file_atomically(path, std::string("my notes, which must not be lost"));
  DiskCache cache(options_in(folder), kIdentity, kTaps, images);
  CHECK(log.warnings().size() == 2);
  CHECK(log.mentions("no shard of activations"));
  store(cache, 0);
  CHECK_FALSE(cache.holds(0));
  CHECK(cache.holds(4));
  CHECK(read_file(path) == "my notes, which must not be lost");
  // A shard of the same cache under another's name.
  fs::copy_file(folder / "mixed4c.5x5" / "00001.act", path, fs::copy_options::overwrite_existing);
  DiskCache moved(options_in(folder), kIdentity, kTaps, images);
  CHECK(log.mentions("another tap, place or version"));
  CHECK_FALSE(moved.holds(0));
}

TEST_CASE("a limit keeps whole shards, is said once, and is kept") {
  const FakeImages images(kImages);
  const fs::path folder = temporary_folder() / "cache";
  const ShardLayout first{.images = kPerShard, .positions = 4, .width = 6};
  const ShardLayout second{.images = kPerShard, .positions = 9, .width = 3};
  DiskCacheOptions options = options_in(folder);
  options.limit_bytes = 2 * (first.file_bytes() + second.file_bytes()) + 100;
  LogCapture log;
  for (int round = 0; round < 2; ++round) {
    DiskCache cache(options, kIdentity, kTaps, images);
    for (int64_t image = kImages - 1; image >= 0; --image) store(cache, image);
    for (int64_t image = 0; image < kImages; ++image) CHECK(cache.holds(image) == (image >= 4));
    CHECK(log.warnings().size() == static_cast<size_t>(round + 1));
    CHECK(log.mentions("--cache-size"));
  }
  int64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".act") bytes += static_cast<int64_t>(entry.file_size());
  }
  CHECK(bytes <= options.limit_bytes);
}

TEST_CASE("a limit below one shard keeps nothing, and that is what is said") {
  const FakeImages images(kImages);
  DiskCacheOptions options = options_in(temporary_folder() / "cache");
  options.limit_bytes = ShardLayout{.images = kPerShard, .positions = 4, .width = 6}.file_bytes() + 10;
  LogCapture log;
  DiskCache cache(options, kIdentity, kTaps, images);
  for (int64_t image = 0; image < kImages; ++image) {
    store(cache, image);
    CHECK_FALSE(cache.holds(image));
  }
  REQUIRE(log.warnings().size() == 1);
  CHECK(log.mentions("keeps nothing: 4 images"));
  CHECK(log.mentions("--cache-size"));
}

TEST_CASE("a cache of something else is refused by name, and not touched") {
  const FakeImages images(kImages);
  const fs::path folder = full_cache(images);
  const auto same = [&] {
    DiskCache cache(options_in(folder), kIdentity, kTaps, images);
    return read(cache, 3) == tokens_of(3);
  };
  const auto mentions = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CacheIdentity other = kIdentity;
  other[0].second = "89ab";
  const std::string message = refusal(options_in(folder), other, kTaps, images);
  CHECK(mentions(message, "(model: 0123 there, 89ab in this run); give another --cache"));
  other = kIdentity;
  other.emplace_back("device", "one with wheels");
  CHECK(mentions(refusal(options_in(folder), other, kTaps, images), "(device: none there"));
  CHECK(mentions(refusal(options_in(folder, CachePrecision::kBf16), kIdentity, kTaps, images),
                 "--cache-precision fp32"));
  CHECK(mentions(refusal(options_in(folder), kIdentity, {{"mixed4d", {9, 4}}}, images), "9 x 3"));
  CHECK(mentions(refusal(options_in(folder), kIdentity, {{"mixed4c:5x5", {4, 6}}}, images), "'mixed4c.5x5'"));
  CHECK(same());
  const fs::path stranger = temporary_folder();
  std::ofstream(stranger / "thesis.tex") << "x";
  CHECK(mentions(refusal(options_in(stranger), kIdentity, kTaps, images), "thesis.tex"));
  CHECK(mentions(refusal(options_in(stranger / "thesis.tex"), kIdentity, kTaps, images), "is a file"));
  CHECK(std::distance(fs::directory_iterator(stranger), fs::directory_iterator()) == 1);
}

TEST_CASE("a damaged manifest: nothing is read or written, which is said once") {
  const FakeImages images(kImages);
  const fs::path folder = full_cache(images);
  const std::string damaged = "{\"format\": \"branch";
  write_file_atomically(folder / "cache.json", damaged);
  LogCapture log;
  DiskCache cache(options_in(folder), kIdentity, kTaps, images);
  CHECK_FALSE(cache.writes());
  for (int64_t image = 0; image < kImages; ++image) {
    store(cache, image);
    CHECK_FALSE(cache.holds(image));
  }
  CHECK(log.warnings().size() == 1);
  CHECK(log.mentions("cache.json' is damaged"));
  CHECK(log.mentions("delete the folder"));
  CHECK(read_file(folder / "cache.json") == damaged);
}

TEST_CASE("later runs may have other taps") {
  const FakeImages images(kImages);
  const fs::path folder = temporary_folder() / "cache";
  {
    DiskCache cache(options_in(folder), kIdentity, {kTaps[0]}, images);
    const auto tokens = tokens_of(2);
    const std::vector<const float*> pointers{tokens[0].data()};
    cache.store(2, pointers);
  }
  DiskCache both(options_in(folder), kIdentity, kTaps, images);
  CHECK_FALSE(both.holds(2));
  store(both, 2);
  CHECK(read(both, 2) == tokens_of(2));
}

TEST_CASE("a second process reads what is there, and says who writes") {
  const FakeImages images(kImages);
  const fs::path folder = full_cache(images);
  DiskCache first(options_in(folder), kIdentity, kTaps, images);
  LogCapture log;
  flip_bit(folder / "mixed4d" / "00000.act", 4096);
  DiskCache second(options_in(folder), kIdentity, kTaps, images);
  CHECK_FALSE(second.writes());
  CHECK(log.mentions("is being written to by process"));
  CHECK(read(second, 9) == tokens_of(9));
  CHECK(read(second, 0).empty());
  store(second, 0);
  CHECK_FALSE(second.holds(0));
}
