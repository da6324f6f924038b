#!/usr/bin/env bash
# Installs the packages that building (and testing) needs and that are not there yet.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/install_dependencies.sh [--tests] [--dry-run]

Installs by apt what building branchsae needs. As root or with passwordless sudo it installs; otherwise it prints the
one line to run and exits 1.
  --tests    also what the tests need
  --dry-run  only print what is missing
TEXT
}

tests=no dry_run=no
for argument in "$@"; do
  case $argument in
    --tests) tests=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown argument '$argument'" ;;
  esac
done

wanted=("${build_packages[@]}")
[[ $tests == yes ]] && wanted+=("${test_packages[@]}")

# os_release ID -> "debian"; empty where the file or the field is absent.
os_release() { (. /etc/os-release 2>/dev/null && eval "echo \"\${$1:-}\""); }

# Says what is known of this distribution before anything is tried.
judge_distribution() {
  local id version
  id=$(os_release ID) version=$(os_release VERSION_ID)
  case $id-$version in
    debian-12) ;;
    debian-10 | debian-11) die "Debian $version is too old: CMake 3.24, GCC 12 and oneDNN 2.6 are needed; use Debian 12" ;;
    ubuntu-1* | ubuntu-20.* | ubuntu-22.*)
      die "Ubuntu $version is too old: CMake 3.24 and GCC 12 are needed; use Ubuntu 24.04 or Debian 12" ;;
    *) say "note: tested on Debian 12; this is $(os_release PRETTY_NAME || true). Newer libraries may not fit (oneDNN 3 has \
another interface than 2.6): CMake will say so." ;;
  esac
}

# A g++ of another origin (a container's own) serves as well as the package.
present() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]] && return 0
  case $1 in
    cmake | python3 | g++ | pkg-config) have "$1" ;;
    ninja-build) have ninja ;;
    curl) have curl || have wget ;; # either serves to download a model
    *) return 1 ;;
  esac
}

if ! have apt-get || ! have dpkg-query; then
  say "note: no apt here. Install by your own means: ${wanted[*]} (Debian's names)."
  exit 0 # CMake names what is missing
fi

missing=()
for package in "${wanted[@]}"; do
  present "$package" || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi
judge_distribution
if [[ $dry_run == yes ]]; then
  echo "${missing[*]}"
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if have sudo && sudo -n true 2>/dev/null; then
    as_root=(sudo)
  else
    die "missing packages; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  fi
fi
say "== install: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q)
"${apt[@]}" update >&2 || say "note: apt-get update failed; trying with the package lists there are"
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 ||
  die "apt-get could not install: ${missing[*]}"
