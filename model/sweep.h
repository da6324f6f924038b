#pragma once
/// A sweep: several runs trained together from the same tokens, each with options of its own.
#include <map>
#include <string>
#include <vector>

#include "model/train_options.h"

namespace branchsae {

/// Options that a sweep may vary, by their command-line names: those of the autoencoder and of its optimiser.
/// All others decide which tokens come when, and so have to be the same for all.
const std::vector<std::string>& sweep_keys();

/// More would spend their time on files.
inline constexpr int64_t kMostSweepMembers = 256;

/// One key of a sweep with a value, as JSON: {"lr":0.001}. `set` holds the value. Throws InputError naming
/// the keys there are when this one cannot be varied.
std::string sweep_change(const std::string& key, const TrainOptions& set);

/// The options of one member's run: those of the sweep with its own in place, in RUN/sweep/<name>.
TrainOptions member_options(const TrainOptions& sweep, const SweepMember& member);

/// Sets in `command_line`, the record of options by name, what the member changes.
void note_changes(const SweepMember& member, std::map<std::string, std::string>& command_line);

/// Throws InputError for a name that is no folder's, a key that cannot be varied, two members of one name or
/// with the same options, and too many.
void check_sweep(const TrainOptions& options);

}  // namespace branchsae
