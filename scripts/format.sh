#!/usr/bin/env bash
# Formats the C++ and CUDA sources, or checks that they are formatted.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/format.sh [--check]

Rewrites every C++ and CUDA source as .clang-format says, but for those that a script wrote; with --check only lists those that differ and exits 1.
TEXT
}

check=no
case ${1:-} in
  "") ;;
  --check) check=yes ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; die "unknown argument '$1'" ;;
esac
have clang-format || die "clang-format is not installed; on Debian: apt install clang-format"
cd "$root"
mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cuh' '*.cu' |
  xargs grep -L "^// Written by scripts/.*do not edit")
if [[ $check == no ]]; then
  clang-format -i "${files[@]}"
  exit 0
fi
wrong=$(clang-format --dry-run "${files[@]}" 2>&1 | sed -n 's/^\([^ :]*\):[0-9].*/\1/p' | sort -u)
[[ -z $wrong ]] && exit 0
echo "$wrong"
die "the files above are not formatted; run scripts/format.sh"
