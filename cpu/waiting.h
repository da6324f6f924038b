#pragma once

namespace branchsae::cpu {

/// How threads that wait for each other wait: for a program's main(), before anything else.
///
/// By default OpenMP's threads spin at a barrier for milliseconds: with decode threads, or anything else, on
/// the same cores each barrier then costs a time slice. Sleeping at once costs some 50 microseconds a
/// barrier, of which a forward pass has 75. So: spin for some 100 microseconds, then sleep. libgomp reads its
/// setting once, when it is loaded, so the program starts itself again with it. A user's own setting
/// (OMP_WAIT_POLICY, GOMP_SPINCOUNT) is kept. Where /proc is missing nothing happens; the program is then
/// merely slower.
void wait_briefly(char** argv);

}  // namespace branchsae::cpu
