#pragma once
/// What eval writes: JSON and CSV of one autoencoder at one k.
#include <filesystem>
#include <string>

#include "apps/eval_tables.h"
#include "apps/output.h"

namespace branchsae::apps {

/// All figures, flat, then `splicing` (null, with `not_spliced` saying why). Undefined ones are NaN.
Json evaluation_json(const TapEvaluation& evaluation);
/// [{"field", "title", "formula", "reported_by"}, ...].
Json formulas_json();
/// [{"class", "wordnet_id", "name", "images", "clean": {...}, "spliced": {...}}, ...].
Json classes_json(const TapEvaluation& evaluation, const ClassList* classes);
/// The same, a line a class.
std::string classes_csv(const TapEvaluation& evaluation, const ClassList* classes);

/// eval-k<k>: eval.json itself is train's, whose bytes stay.
std::string eval_file_name(int64_t k);

}  // namespace branchsae::apps
