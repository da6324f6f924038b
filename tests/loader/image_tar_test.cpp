#include <archive.h>
#include <archive_entry.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "engine/error.h"
#include "engine/log.h"
#include "loader/image_source.h"
#include "tests/loader/image_files.h"
#include "tests/test_data.h"

using namespace branchsae;
using namespace branchsae::test;
namespace fs = std::filesystem;

namespace {

const ImageOptions kSmall{.resize = 16, .crop = 14};

using Members = std::vector<std::pair<std::string, std::string>>;

/// `format` and `filter` are libarchive's codes.
void write_tar(const fs::path& path, const Members& members, int format = ARCHIVE_FORMAT_TAR_USTAR,
               int filter = ARCHIVE_FILTER_NONE) {
  archive* tar = archive_write_new();
  archive_write_set_format(tar, format);
  archive_write_add_filter(tar, filter);
  archive_write_set_options(tar, "hdrcharset=BINARY");
  REQUIRE(archive_write_open_filename(tar, path.c_str()) == ARCHIVE_OK);
  for (const auto& [name, bytes] : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<int64_t>(bytes.size()));
    archive_entry_set_filetype(entry, name.ends_with('/') ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    REQUIRE(archive_write_header(tar, entry) == ARCHIVE_OK);
    archive_write_data(tar, bytes.data(), bytes.size());
    archive_entry_free(entry);
  }
  REQUIRE(archive_write_close(tar) == ARCHIVE_OK);
  archive_write_free(tar);
}

std::string read_all(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string colour(uint8_t r) {
  return encode_png(flat(20, 16, r, 0, 0));
}

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

struct Expected {
  std::string name;
  int32_t label;
  std::string red;
};

void check_contents(const ImageSource& source, const fs::path& tar, const std::vector<Expected>& expected) {
  REQUIRE(source.size() == static_cast<int64_t>(expected.size()));
  for (int64_t i = 0; i < source.size(); ++i) {
    const Expected& wanted = expected[static_cast<size_t>(i)];
    CHECK(source.info(i).name == tar.string() + "/" + wanted.name);
    CHECK(source.info(i).label == wanted.label);
    CHECK(red_of(source, i) == wanted.red);
  }
}

const std::string kLongName = std::string(120, 'x') + "/" + std::string(130, 'y') + ".png";

}  // namespace

TEST_CASE("shards of every tar dress and compression give the same images and labels") {
  // Not in name order, labels before and after their image, a folder, companions, and what is no image.
  const Members members = {{"b.cls", "n01443537\n"},
                           {"b.png", colour(2)},
                           {"folder/", ""},
                           {"folder/n01440764_3.png", colour(3)},
                           {"a.png", colour(1)},
                           {"a.json", "{\"label\": 7}"},
                           {"a.mask.png", colour(99)},
                           {"a.cls", "42"},
                           {"./c.PNG", colour(4)},
                           {"d.2020.png", colour(5)},
                           {"d.2020.cls", "5"},
                           {"folder/._n01440764_3.png", "resource fork"},
                           {"e.left.png", colour(6)},
                           {"e.right.png", "damaged"},
                           {"e.cls", "6"},
                           {"empty.jpg", ""}};
  std::vector<Expected> expected = {{"a.png", 42, "1"},
                                    {"b.png", 1, "2"},
                                    {"c.PNG", -1, "4"},
                                    {"d.2020.png", 5, "5"},
                                    {"e.left.png", 6, "6"},
                                    {"e.right.png", 6,
                                     "is no JPEG, PNG, BMP, GIF, TGA or PNM image (it begins "
                                     "with bytes 64 61 6d 61)"},
                                    {"empty.jpg", -1, "is empty"},
                                    {"folder/n01440764_3.png", 0, "3"}};
  const fs::path folder = temporary_folder();
  for (const int format :
       {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FORMAT_TAR_GNUTAR}) {
    for (const auto& [filter, ending] : {std::pair{ARCHIVE_FILTER_NONE, ".tar"},
                                         {ARCHIVE_FILTER_GZIP, ".tar.gz"},
                                         {ARCHIVE_FILTER_ZSTD, ".tar.zst"}}) {
      const fs::path tar = folder / (std::to_string(format) + ending);
      CAPTURE(tar);
      write_tar(tar, members, format, filter);
      check_contents(*open_images(tar.string(), kSmall), tar, expected);
    }
  }
}

TEST_CASE("long names and names beyond ASCII, in the dresses that have them") {
  const fs::path folder = temporary_folder();
  const Members members = {{kLongName, colour(1)}, {"caf\xC3\xA9.png", colour(2)}, {"z\xE9.png", colour(3)}};
  for (const int format : {ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FORMAT_TAR_GNUTAR}) {
    const fs::path tar = folder / (std::to_string(format) + ".tar");
    CAPTURE(format);
    write_tar(tar, members, format);
    check_contents(*open_images(tar.string(), kSmall), tar,
                   {{"caf\xC3\xA9.png", -1, "2"}, {kLongName, -1, "1"}, {"z\\xe9.png", -1, "3"}});
  }
}

TEST_CASE("a pax tar with UTF-8 names reads in the C locale") {
  // Written by hand: a pax header "path=..." as tar programs write it, without libarchive's binary flag.
  const fs::path folder = temporary_folder();
  const std::string record = "21 path=caf\xC3\xA9/\xC3\xBC.png\n";
  CHECK(record.size() == 21);
  write_tar(folder / "ustar.tar", {{"PaxHeaders/x", record}, {"x.png", colour(7)}});
  std::string bytes = read_all(folder / "ustar.tar");
  const auto refresh_checksum = [&] {
    bytes.replace(148, 8, 8, ' ');
    int64_t sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[i]);
    bytes.replace(148, 8, octal(6, sum) + '\0' + ' ');
  };
  bytes[156] = 'x';
  refresh_checksum();
  write_bytes(folder / "pax.tar", bytes);
  const auto source = open_images((folder / "pax.tar").string(), kSmall);
  check_contents(*source, folder / "pax.tar", {{"caf\xC3\xA9/\xC3\xBC.png", -1, "7"}});
}

TEST_CASE("several shards by a brace range; the fingerprint depends on all") {
  const fs::path folder = temporary_folder();
  write_tar(folder / "t-000.tar", {{"b.png", colour(1)}, {"a.png", colour(2)}});
  write_tar(folder / "t-001.tar", {{"a.png", colour(3)}});
  const std::string spec = (folder / "t-{000..001}.tar").string();
  const auto source = open_images(spec, kSmall);
  REQUIRE(source->size() == 3);
  CHECK(red_of(*source, 0) == "2");
  CHECK(red_of(*source, 1) == "1");
  CHECK(red_of(*source, 2) == "3");
  CHECK(source->info(2).name == (folder / "t-001.tar/a.png").string());
  const std::string before = source->fingerprint();
  write_tar(folder / "t-001.tar", {{"b.png", colour(3)}});
  CHECK(open_images(spec, kSmall)->fingerprint() != before);
}

TEST_CASE("a tar that is cut off names tar and byte") {
  const fs::path folder = temporary_folder();
  write_tar(folder / "whole.tar", {{"a.png", colour(1)}, {"b.png", colour(2)}, {"b.cls", "7"}});
  const std::string whole = read_all(folder / "whole.tar");
  const fs::path cut = folder / "cut.tar";
  const size_t first_end = 512 + (colour(1).size() + 511) / 512 * 512;
  for (const size_t kept : {size_t{0}, size_t{100}, size_t{511}, size_t{512}, size_t{540}}) {
    CAPTURE(kept);
    write_bytes(cut, whole.substr(0, kept));
    const std::string reason = refusal_of(cut.string());
    CHECK(contains(reason, "cut.tar"));
    CHECK(contains(reason, "byte"));
  }
  write_bytes(cut, whole.substr(0, 540));
  CHECK(contains(refusal_of(cut.string()), "inside 'a.png'"));
  CHECK(contains(refusal_of(cut.string()), "byte 512 of 540"));

  // Between two entries nothing is lost but what followed: a warning.
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel, const std::string& message) { warnings.push_back(message); });
  write_bytes(cut, whole.substr(0, first_end));
  CHECK(open_images(cut.string(), kSmall)->size() == 1);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "no end mark"));
  open_images((folder / "whole.tar").string(), kSmall);
  CHECK(warnings.size() == 1);
  set_log_sink({});

  write_bytes(cut, "this is no tar");
  CHECK(contains(refusal_of(cut.string()), "no tar"));
}

TEST_CASE(
    "of a tar that is cut off or damaged the images before that place stay, and so do those of others") {
  const fs::path folder = temporary_folder();
  const fs::path bad = folder / "a.tar", good = folder / "b.tar";
  write_tar(bad, {{"a.png", colour(1)}, {"b.png", colour(2)}, {"b.cls", "7"}});
  write_tar(good, {{"c.png", colour(3)}});
  const std::string whole = read_all(bad);
  const size_t first_end = 512 + (colour(1).size() + 511) / 512 * 512;
  std::string damaged = whole;
  damaged[first_end + 10] = '!';
  ImageOptions strict = kSmall;
  strict.strict = true;
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel, const std::string& message) { warnings.push_back(message); });
  for (const std::string& bytes :
       {whole.substr(0, first_end + 300), whole.substr(0, first_end + 512 + 20), damaged}) {
    write_bytes(bad, bytes);
    warnings.clear();
    const auto source = open_images(bad.string(), kSmall);
    REQUIRE(warnings.size() == 1);
    CAPTURE(warnings[0]);
    CHECK(contains(warnings[0], "tar '" + bad.string() + "'"));
    CHECK(contains(warnings[0], "byte"));
    CHECK(contains(warnings[0], "the 1 images before it are kept"));
    check_contents(*source, bad, {{"a.png", -1, "1"}});
    const std::string both = bad.string() + "," + good.string();
    CHECK(open_images(both, kSmall)->size() == 2);
    CHECK(open_images(both, kSmall)->fingerprint() == open_images(both, kSmall)->fingerprint());
    CHECK(contains(refusal_of(both, strict), "--strict"));
  }
  for (const size_t kept : {size_t{0}, size_t{540}}) {
    CAPTURE(kept);
    write_bytes(bad, whole.substr(0, kept));
    warnings.clear();
    const auto source = open_images(bad.string() + "," + good.string(), kSmall);
    check_contents(*source, good, {{"c.png", -1, "3"}});
    REQUIRE(warnings.size() == 1);
    CHECK(contains(warnings[0], "it is left out"));
    CHECK(contains(refusal_of(bad.string() + "," + good.string(), strict), "--strict"));
    fs::copy(bad, folder / "c.tar", fs::copy_options::overwrite_existing);
    CHECK(contains(refusal_of((folder / "{a,b,c}.tar").string()), "2 of 3 shards hold no image"));
  }
  set_log_sink({});
}

TEST_CASE("a compressed tar that is cut off or too large for memory is refused") {
  const fs::path folder = temporary_folder();
  const Members members = {{"a.png", colour(1)}, {"b.png", colour(2)}};
  write_tar(folder / "t.tar.gz", members, ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP);
  ImageOptions options = kSmall;
  options.max_unpacked_bytes = static_cast<int64_t>(colour(1).size() + colour(2).size());
  CHECK(open_images((folder / "t.tar.gz").string(), options)->size() == 2);
  --options.max_unpacked_bytes;
  CHECK(contains(refusal_of((folder / "t.tar.gz").string(), options), "unpack it first"));
  const std::string whole = read_all(folder / "t.tar.gz");
  write_bytes(folder / "cut.tgz", whole.substr(0, whole.size() / 2));
  CHECK(contains(refusal_of((folder / "cut.tgz").string()), "cut.tgz"));
}

TEST_CASE("a shard that changes after it was opened gives reasons, not garbage") {
  const fs::path folder = temporary_folder();
  const fs::path tar = folder / "t.tar";
  write_tar(tar, {{"a.png", colour(1)}, {"b.png", colour(2)}});
  const auto source = open_images(tar.string(), kSmall);
  write_bytes(tar, read_all(tar).substr(0, 600));
  CHECK(contains(red_of(*source, 1), "was cut off at byte"));
  fs::remove(tar);
  CHECK(contains(red_of(*source, 0), "does not exist"));
}

TEST_CASE("a tar without images is refused") {
  const fs::path folder = temporary_folder();
  write_tar(folder / "t.tar", {{"a.txt", "no image"}});
  CHECK(contains(refusal_of((folder / "t.tar").string()), "no image in"));
  write_bytes(folder / "zeros.tar", std::string(10240, '\0'));
  CHECK(contains(refusal_of((folder / "zeros.tar").string()), "no image in"));
}

TEST_CASE("a shard that goes, is cut off or replaced loses its images, and says which and why") {
  const fs::path folder = temporary_folder();
  const fs::path first = folder / "a.tar", second = folder / "b.tar";
  write_tar(first, {{"1.png", colour(1)}, {"2.png", colour(2)}, {"3.png", colour(3)}});
  write_tar(second, {{"z.png", colour(4)}, {"y.png", colour(5)}});
  const auto source = open_images((folder / "{a,b}.tar").string(), kSmall);
  CHECK(source->shards() == 2);
  REQUIRE(source->size() == 5);
  CHECK(source->shard(2) == 0);
  CHECK(source->shard(3) == 1);
  CHECK(source->offset(3) > source->offset(4));  // sorted by name, y stands behind z in the file
  for (int64_t i = 0; i < 5; ++i) CHECK(source->lost(i).empty());

  const std::string bytes = read_all(first), name = "shard '" + first.string() + "'";
  write_bytes(first, bytes.substr(0, static_cast<size_t>(source->offset(1)) + 10));
  CHECK(red_of(*source, 0) == "1");
  CHECK(source->lost(0).empty());
  for (const int64_t i : {1, 2}) {
    CHECK(red_of(*source, i) == name + " was cut off at byte " + std::to_string(source->offset(1) + 10));
    CHECK(source->lost(i) == red_of(*source, i));
  }
  // Another shard of that name, with images where images were.
  write_tar(first, {{"7.png", colour(7)}, {"8.png", colour(8)}, {"3.png", colour(3)}});
  CHECK(red_of(*source, 0) == name + " holds something else by now");
  CHECK(red_of(*source, 1) == name + " holds something else by now");
  fs::remove(first);
  CHECK(red_of(*source, 0) == name + " does not exist");
  write_bytes(first, bytes);
  for (int64_t i = 0; i < 3; ++i) CHECK(red_of(*source, i) == std::to_string(i + 1));
  CHECK(red_of(*source, 4) == "4");

  const auto mixed = open_images((folder / "a.tar").string() + "," + (folder / "b.tar").string(), kSmall);
  CHECK(mixed->shards() == 2);
  write_bytes(folder / "single.png", colour(9));
  CHECK(open_images(std::vector<std::string>{first.string(), (folder / "single.png").string()}, kSmall)
            ->shards() == 0);
}
