#!/usr/bin/env bash
# From a fresh machine to trained autoencoders: installs, builds, finds model and photos, trains, prints a table.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [IMAGES...]

Trains a k-sparse autoencoder on each 5x5 branch of mixed4a to mixed4e and prints how well they do. IMAGES are folders,
images, text lists or .tar shards; without, images/ of the data folder is taken.

The data folder is the first of $BRANCHSAE_DATA, data/ and ../shared that has what is looked for. Without a model there
the ONNX model zoo's is downloaded to data/model/ (BRANCHSAE_MODEL_URL, BRANCHSAE_MODEL_SHA256: another one;
BRANCHSAE_MODEL_URL=none: do not download). What is still missing is made up: random weights, drawn pictures.

  BRANCHSAE_BUILD_DIR  build folder (build/)
  BRANCHSAE_TOKENS     training tokens a branch, as in 300k; like every option of `branchsae demo`
TEXT
}

case ${1:-} in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; die "unknown option '$1'" ;;
esac
for spec in "$@"; do # shards may be written {000..003} and lists joined by commas: only plain names are checked here
  [[ -e $spec || $spec == *[,{]* ]] || die "$spec: no such file or folder"
done

# images/ of the first data folder that has one.
find_images() {
  local folder folders=("$root/data" "$root/../shared")
  [[ -n ${BRANCHSAE_DATA:-} ]] && folders=("$BRANCHSAE_DATA")
  for folder in "${folders[@]}"; do
    if [[ -d $folder/images ]]; then
      (cd "$folder/images" && pwd)
      return
    fi
  done
}

# A figure of the run's timings, in seconds.
run_seconds() {
  LC_ALL=C printf '%.1f' "$(tr -d '\n ' <"$1/run.json" | sed -n "s/.*\"seconds\":{[^}]*\"$2\":\([0-9.eE+-]*\).*/\1/p")"
}

banner() {
  say ""
  say "********************************************************************************"
  printf '***  %s\n' "$@" >&2
  say "********************************************************************************"
  say ""
}

started=$SECONDS
"$root/scripts/install_dependencies.sh"
configure_and_build -DBRANCHSAE_TESTS=OFF -DBRANCHSAE_BENCH=OFF -DBRANCHSAE_EXAMPLES=OFF
built=$SECONDS

model=$("$root/scripts/find_model.sh") || [[ $? -eq 3 ]] || die "looking for a model failed"
images=("$@")
if [[ ${#images[@]} -eq 0 ]]; then
  found=$(find_images)
  [[ -n $found ]] && images=("$found")
fi

run=$root/runs/quickstart-$(date +%Y%m%d-%H%M%S)
arguments=(demo --out "$run")
[[ -n $model ]] && arguments+=(--model "$model")
if [[ -z $model || ${#images[@]} -eq 0 ]]; then arguments+=(--synthetic "$root/data/synthetic"); fi
if [[ -z $model ]]; then
  banner "NO MODEL was found or could be downloaded." \
    "A network of InceptionV1's shape with RANDOM weights stands in." \
    "It shows that everything runs; its figures say nothing about InceptionV1." \
    "Put googlenet.onnx into $root/data/model/ for the real thing."
fi
if [[ ${#images[@]} -eq 0 ]]; then
  banner "NO PHOTOS were found: DRAWN pictures stand in." \
    "Give a folder of photos: scripts/quickstart.sh my-photos/"
fi

say "== train${model:+ on $model}"
"$build/bin/branchsae" "${arguments[@]}" "${images[@]}"
ended=$SECONDS

echo
echo "total $(seconds_text $((ended - started))): install and build $(seconds_text $((built - started)))," \
  "model, training and evaluation $(seconds_text $((ended - built))), of which training $(run_seconds "$run" training) s"
