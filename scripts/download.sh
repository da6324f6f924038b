#!/usr/bin/env bash
# Downloads one file and keeps it only when its sha256 is the expected one.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/download.sh URL SHA256 FILE

Fetches URL by curl, wget or python3 (the first there is; BRANCHSAE_DOWNLOADER names one), checks the whole file's
sha256, then renames it to FILE. On any failure FILE is untouched, nothing is left beside it, and the exit code is 1.
TEXT
}

[[ ${1:-} == -h || ${1:-} == --help ]] && { usage; exit 0; }
[[ $# -eq 3 ]] || { usage >&2; exit 2; }
url=$1 expected=$2 file=$3
stalled_s=30 # a server that sends nothing for this long is given up

choose_tool() {
  local tool
  for tool in ${BRANCHSAE_DOWNLOADER:-curl wget python3}; do
    have "$tool" && { echo "$tool"; return; }
  done
  die "no downloader: install curl, wget or python3"
}

fetch() { # tool, destination; prints its own reason on stdout when it fails
  case $1 in
    curl)
      curl --fail --location --silent --show-error --retry 2 --connect-timeout 15 --speed-limit 1 --speed-time "$stalled_s" \
        --output "$2" "$url" 2>&1 ;;
    # Without a second try wget gives up on a connection that the server closed after a redirection.
    wget) wget --no-verbose --tries=3 --waitretry=1 --timeout="$stalled_s" --output-document="$2" "$url" 2>&1 ;;
    python3)
      python3 - "$url" "$2" "$stalled_s" 2>&1 <<'PYTHON'
import shutil
import sys
import urllib.request

url, path, timeout = sys.argv[1:]
try:
    with urllib.request.urlopen(url, timeout=float(timeout)) as answer, open(path, "wb") as file:
        shutil.copyfileobj(answer, file)
        length = answer.headers.get("Content-Length")
        if length is not None and file.tell() != int(length):
            sys.exit(f"got {file.tell()} of {length} bytes")
except OSError as error:
    sys.exit(str(error))
PYTHON
      ;;
    *) echo "unknown downloader '$1'"; return 1 ;;
  esac
}

tool=$(choose_tool)
mkdir -p "$(dirname "$file")"
part=$(mktemp "$file.part.XXXXXX")
trap 'rm -f "$part"' EXIT
trap 'exit 130' INT TERM
if ! reason=$(fetch "$tool" "$part"); then
  die "$url: $tool: $(tr '\n' ' ' <<<"$reason" | cut -c1-200)"
fi
found=$(sha256sum "$part" | cut -d' ' -f1)
if [[ $found != "$expected" ]]; then
  die "$url: sha256 is $found, expected $expected; the file ($(stat -c %s "$part") bytes) was thrown away"
fi
chmod 644 "$part"
mv -f "$part" "$file"
