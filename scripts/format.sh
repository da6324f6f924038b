#!/usr/bin/env bash
# Formats the C++ and CUDA sources, or checks that they are formatted.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/format.sh [--check]

Rewrites every C++ and CUDA source as .clang-format says; with --check only lists those that differ and exits 1.
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
mapfile -d '' files < <(git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cuh' '*.cu')
if [[ $check == no ]]; then
  clang-format -i "${files[@]}"
  exit 0
fi
wrong=0
for file in "${files[@]}"; do
  if ! clang-format "$file" | cmp -s - "$file"; then
    echo "$file"
    wrong=1
  fi
done
[[ $wrong -eq 0 ]] || die "the files above are not formatted; run scripts/format.sh"
