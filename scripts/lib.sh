# Shared by the scripts in this folder; sourced, never run. Everything works from any current folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${BRANCHSAE_BUILD_DIR:-$root/build}

# Packages by Debian's names; README says what each is for.
build_packages=(cmake ninja-build g++ pkg-config libfmt-dev libspdlog-dev nlohmann-json3-dev libcli11-dev
  libprotobuf-dev libonnx-dev libhwy-dev libjpeg-dev libpng-dev libstb-dev libarchive-dev libssl-dev libeigen3-dev
  libxxhash-dev curl ca-certificates
  libdnnl-dev ocl-icd-opencl-dev) # oneDNN's CMake package asks for the OpenCL headers, Debian's does not bring them
test_packages=(doctest-dev python3)

say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# seconds_text 125 -> "2 min 5 s"
seconds_text() {
  if (($1 < 60)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# As many compilers at once as there are cores, but no more than memory allows: the largest file needs about 1.5 GB.
build_jobs() {
  local jobs memory_kb
  jobs=$(nproc 2>/dev/null || echo 2)
  memory_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null || true)
  if [[ -n $memory_kb ]] && ((memory_kb / 1500000 < jobs)); then jobs=$((memory_kb / 1500000)); fi
  echo $((jobs < 1 ? 1 : jobs))
}

# configure_and_build [CMake options]: a Release build in $build. Keeps the generator of an existing build folder.
configure_and_build() {
  local generator=()
  if [[ ! -f $build/CMakeCache.txt ]] && have ninja; then generator=(-G Ninja); fi
  have cmake || die "cmake is not installed; run scripts/install_dependencies.sh"
  say "== configure ($build)"
  cmake -S "$root" -B "$build" "${generator[@]}" "$@" >&2 ||
    die "configuring failed; the lines above say which library or version is missing"
  say "== build, $(build_jobs) at a time"
  cmake --build "$build" --parallel "$(build_jobs)" >&2 || die "building failed; see the first error above"
}
