#include <doctest/doctest.h>

#include "engine/error.h"
#include "engine/files.h"
#include "loader/class_list.h"
#include "loader/labels.h"
#include "tests/test_data.h"

using namespace branchsae;

namespace {

std::shared_ptr<const ClassList> list_of(const std::string& text) {
  const auto path = test::temporary_folder() / "classes.tsv";
  write_file_atomically(path, std::span<const char>(text.data(), text.size()));
  return load_class_list(path);
}

}  // namespace

TEST_CASE("the built-in list is ILSVRC-2012's, sorted by WordNet id") {
  const auto classes = builtin_class_list();
  REQUIRE(classes->size() == 1000);
  for (int64_t i = 0; i < 1000; ++i) {
    CHECK(is_wordnet_id(classes->at(i).wordnet_id));
    CHECK(classes->find(classes->at(i).wordnet_id) == i);
    if (i > 0) CHECK(classes->at(i - 1).wordnet_id < classes->at(i).wordnet_id);
  }
  // Well-known places of the standard order.
  CHECK(classes->short_name(0) == "tench");
  CHECK(classes->short_name(281) == "tabby");
  CHECK(classes->short_name(397) == "puffer");  // the last animal
  CHECK(classes->short_name(999) == "toilet tissue");
  CHECK(classes->source() == "built-in");
}

TEST_CASE("class lists are read in any line order, with comments, CRLF and a byte-order mark") {
  const auto classes =
      list_of("\xEF\xBB\xBF# comment\n1\tn00000002\tb\r\n\n0\tn00000001\ta, \xC3\xA9\n2\t-\tc");
  REQUIRE(classes->size() == 3);
  CHECK(classes->at(0).names == "a, \xC3\xA9");
  CHECK(classes->at(1).names == "b");
  CHECK(classes->at(2).wordnet_id.empty());
  CHECK(classes->find("n00000002") == 1);
  CHECK(classes->find("n00000009") == -1);
}

TEST_CASE("a class list that makes no sense is an input error") {
  for (const char* text : {"", "# nothing\n", "tench\n", "0\ttench\n", "x\tn01440764\ttench\n",
                           "0x\tn01440764\ttench\n", "-1\tn01440764\ttench\n", "99999999999\tn01440764\tt\n",
                           "0\ta\tb\n0\tc\td\n", "0\ta\tb\n2\tc\td\n", "0\tn1\tb\n1\tn1\td\n"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(list_of(text), InputError);
  }
  CHECK_THROWS_AS(load_class_list("/does/not/exist.tsv"), InputError);
}

TEST_CASE("the class list is the one named, else beside the model, else the built-in one") {
  const auto folder = test::temporary_folder();
  CHECK(choose_class_list({}, folder / "model.onnx") == builtin_class_list());
  const std::string text = "0\tn00000001\tbeside\n";
  write_file_atomically(folder / "imagenet_classes.tsv", text);
  CHECK(choose_class_list({}, folder / "model.onnx")->at(0).names == "beside");
  const std::string other = "0\tn00000001\tnamed\n";
  write_file_atomically(folder / "other.tsv", other);
  CHECK(choose_class_list(folder / "other.tsv", folder / "model.onnx")->at(0).names == "named");
  CHECK_THROWS_AS(choose_class_list(folder / "absent.tsv", folder / "model.onnx"), InputError);
}

TEST_CASE("labels come from the written text, the folder, the file's name") {
  const auto classes = list_of("0\tn00000010\ta\n1\tn00000011\tb\n2\tn00000012\tc\n");
  struct Case {
    LabelHints hints;
    int32_t index;
    bool unknown;
  };
  const Case cases[] = {
      {{}, -1, false},
      {{.written = "2"}, 2, false},
      {{.written = " n00000011\r\n"}, 1, false},
      {{.written = "3"}, -1, true},
      {{.written = "-1"}, -1, true},
      {{.written = "1.5"}, -1, true},
      {{.written = "cat"}, -1, true},
      {{.written = "99999999999999999999"}, -1, true},
      {{.written = "n00000099", .folder = "n00000010"}, -1, true},
      {{.written = "  \n", .folder = "n00000010"}, 0, false},
      {{.folder = "n00000012", .file = "n00000011_7.jpg"}, 2, false},
      {{.folder = "n00000012-cocker", .file = "x.jpg"}, 2, false},
      {{.folder = "n00000012cocker", .file = "x.jpg"}, -1, false},
      {{.folder = "n00000099", .file = "n00000011_7.jpg"}, 1, false},
      {{.folder = "n00000099", .file = "x.jpg"}, -1, true},
      {{.folder = "photos", .file = "n00000011_7.jpg"}, 1, false},
      {{.folder = "photos", .file = "n00000011.jpg"}, 1, false},
      {{.folder = "photos", .file = "n000000117.jpg"}, -1, false},
      {{.folder = "photos", .file = "n00000098_7.jpg"}, -1, true},
      {{.folder = "1", .file = "x.jpg"}, -1, false},
      {{.folder = "1", .file = "x.jpg", .folder_may_be_index = true}, 1, false},
      {{.folder = "1", .file = "n00000010_x.jpg", .folder_may_be_index = true}, 0, false},
      {{.folder = "2012", .file = "x.jpg", .folder_may_be_index = true}, -1, false},
  };
  for (const Case& each : cases) {
    CAPTURE(each.hints.written);
    CAPTURE(each.hints.folder);
    CAPTURE(each.hints.file);
    const Label label = find_label(*classes, each.hints);
    CHECK(label.index == each.index);
    CHECK(label.unknown == each.unknown);
  }
}
