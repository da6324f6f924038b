#!/usr/bin/env bash
# Installs what is missing, builds, runs every test. The last line printed is "N passed, N failed, N skipped".
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--fast] [ctest options]

Builds with tests in build/ (BRANCHSAE_BUILD_DIR overrides) and runs all of them; exit code 0 when none failed.
Tests that need the model and photos find them in $BRANCHSAE_DATA, data/ or ../shared; without, they count as skipped.
  --fast  leave out the suites labelled slow
Example: scripts/test.sh -R loader
TEXT
}

[[ ${1:-} == -h || ${1:-} == --help ]] && { usage; exit 0; }
selection=()
if [[ ${1:-} == --fast ]]; then
  selection=(-LE slow)
  shift
fi

started=$SECONDS
"$root/scripts/install_dependencies.sh" --tests
configure_and_build -DBRANCHSAE_TESTS=ON -DBRANCHSAE_BENCH=ON -DBRANCHSAE_EXAMPLES=ON
built=$SECONDS

say "== test"
log=$build/Testing/Temporary/LastTest.log
rm -f "$log" "$log.tmp"
status=0
ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 1200 --parallel "$(build_jobs)" \
  "${selection[@]}" "$@" || status=$?
say "== set-up and build $(seconds_text $((built - started))), tests $(seconds_text $((SECONDS - built)))"
[[ -f $log ]] || log=$log.tmp # what ctest leaves when it is killed
python3 "$root/scripts/count_tests.py" "$log" "$status"
