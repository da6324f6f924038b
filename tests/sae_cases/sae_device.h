#pragma once
/// What the shared cases of autoencoders run on. A test program that links them defines these functions.
#include <functional>

#include "engine/backend.h"

namespace branchsae::test {

/// The backend, with that many host threads where it uses any.
Backend& sae_backend(int threads = 2);
/// Calls `body` for everything the device computes in a way of its own (instruction sets), and captures the
/// name.
void for_each_level(const std::function<void()>& body);
/// A long run begins, of what shorter cases have shown to be sound: the device may check less.
void relax_checks();
/// Cases leave out what only adds size.
bool slow_device();

}  // namespace branchsae::test
