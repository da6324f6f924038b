#pragma once
/// Which class an image is labelled with, from what stands around it.
#include <cstdint>
#include <string_view>

#include "loader/class_list.h"

namespace branchsae {

/// What may name an image's class. Empty members say nothing.
struct LabelHints {
  std::string_view written{};        ///< text of the .cls entry, or the label column of a list
  std::string_view folder{};         ///< name of the parent folder
  std::string_view file{};           ///< name of the file, without folders
  bool folder_may_be_index = false;  ///< whether a folder called "7" means class 7
};

struct Label {
  int32_t index = -1;    ///< class index, -1 when unlabelled
  bool unknown = false;  ///< there was a label, but the class list does not have it
};

/// The first of these that is in the list decides: `written` (class index or WordNet id; when present nothing
/// else is asked), WordNet id that begins the folder's name (n01440764, n01440764_tench or n01440764-tench),
/// WordNet id that begins the file's name (n01440764_x.jpg), class index as folder name.
Label find_label(const ClassList& classes, const LabelHints& hints);

/// True for 'n' followed by eight digits.
bool is_wordnet_id(std::string_view text);

}  // namespace branchsae
