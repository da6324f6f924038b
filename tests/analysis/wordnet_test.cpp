#include "analysis/wordnet.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "loader/imagenet_classes.h"

using namespace branchsae;

namespace {

std::vector<int32_t> class_synsets() {
  std::vector<int32_t> numbers;
  for (const loader::ImagenetClass& c : loader::imagenet_classes())
    numbers.push_back(WordNet::built_in().find(c.wordnet_id));
  return numbers;
}

/// Index of the first and one past the last class below `ancestor`, and how many there are.
struct Below {
  int64_t first = -1, end = 0, count = 0;
};

Below classes_below(std::string_view ancestor) {
  const WordNet& wordnet = WordNet::built_in();
  const std::vector<int32_t> classes = class_synsets();
  Below below;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (!wordnet.is_a(classes[i], wordnet.find(ancestor))) continue;
    if (below.first < 0) below.first = static_cast<int64_t>(i);
    below.end = static_cast<int64_t>(i) + 1;
    ++below.count;
  }
  return below;
}

}  // namespace

TEST_CASE("wordnet: every class is a synset, and all descend from one root") {
  const WordNet& wordnet = WordNet::built_in();
  std::set<int32_t> roots;
  for (int32_t number : class_synsets()) {
    REQUIRE(number >= 0);
    for (int32_t above : wordnet.synset(number).lineage) {
      if (wordnet.synset(above).hypernyms.empty()) roots.insert(above);
    }
  }
  REQUIRE(roots.size() == 1);
  CHECK(wordnet.synset(*roots.begin()).name == "entity");
}

TEST_CASE("wordnet: the animals are classes 0 to 397, the dogs 151 to 268, birds are not contiguous") {
  const Below animals = classes_below(kAnimal), dogs = classes_below(kDog), birds = classes_below(kBird);
  CHECK(animals.first == 0);
  CHECK(animals.count == 398);
  CHECK(animals.end == 398);
  CHECK(dogs.first == 151);
  CHECK(dogs.count == 118);
  CHECK(dogs.end == 269);
  CHECK(birds.count > 50);
  CHECK(birds.end - birds.first > birds.count);
}

TEST_CASE(
    "wordnet: a graph, not a tree: 38 classes have several hypernyms, 179 synsets five classes or more") {
  const WordNet& wordnet = WordNet::built_in();
  int64_t several = 0;
  std::vector<int64_t> classes(wordnet.synsets().size());
  for (int32_t number : class_synsets()) {
    several += wordnet.synset(number).hypernyms.size() > 1 ? 1 : 0;
    for (int32_t above : wordnet.synset(number).lineage) ++classes[static_cast<size_t>(above)];
  }
  CHECK(several == 38);
  CHECK(std::ranges::count_if(classes, [](int64_t count) { return count >= 5; }) == 179);
  CHECK(wordnet.find("n99999999") == -1);
}
