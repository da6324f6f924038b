#pragma once
/// One picture a latent, to look at: its crops and heat maps with their names.
#include <string>
#include <vector>

#include "loader/image_decode.h"

namespace branchsae {

struct SheetCell {
  RgbImage crop, heat;  ///< shown one above the other
  std::string caption;  ///< "4.27 Siberian husky"
};

struct ContactSheet {
  std::vector<std::string> heading;          ///< lines above all
  std::vector<std::string> row_titles;       ///< one a row
  std::vector<std::vector<SheetCell>> rows;  ///< of any lengths
};

RgbImage draw_sheet(const ContactSheet& sheet);

}  // namespace branchsae
