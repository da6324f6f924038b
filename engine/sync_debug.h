#pragma once

namespace branchsae {

/// A process-wide switch for looking for faults: devices wait after every launch, so that an error is
/// reported where it arises, and capture nothing for later. Slow. Until it is set, BRANCHSAE_SYNC_DEBUG in
/// the environment decides ("", "0", "no", "off" and "false" leave it off).
void set_sync_debug(bool on);
bool sync_debug();

}  // namespace branchsae
