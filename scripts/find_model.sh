#!/usr/bin/env bash
# Prints the path of a GoogLeNet: one that is here, else one that was downloaded.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/find_model.sh

Looks for model/googlenet*.onnx in $BRANCHSAE_DATA, data/ and ../shared; else downloads the ONNX model zoo's file to
data/model/. Exit code 3: neither found nor downloaded.
  BRANCHSAE_DATA          folder with model/ and images/; when set, no other folder is searched
  BRANCHSAE_MODEL_URL     download from here instead ("none": do not download)
  BRANCHSAE_MODEL_SHA256  the sha256 that file must have (default: that of the model zoo's googlenet-8.onnx)
TEXT
}

[[ ${1:-} == -h || ${1:-} == --help ]] && { usage; exit 0; }
[[ $# -eq 0 ]] || { usage >&2; exit 2; }

# googlenet-8.onnx of the ONNX model zoo: BVLC's weights, released for unrestricted use. Two places of the same file.
name=googlenet-8.onnx
sha256=${BRANCHSAE_MODEL_SHA256:-3d343d459199fbcc8cd43d45264180e3e1ef91d4908f3541b5b308995206362c}
zoo=https://media.githubusercontent.com/media/onnx/models/main/validated/vision/classification
urls=("https://huggingface.co/onnxmodelzoo/googlenet-8/resolve/main/$name"
  "$zoo/inception_and_googlenet/googlenet/model/$name")
[[ -n ${BRANCHSAE_MODEL_URL:-} ]] && urls=("$BRANCHSAE_MODEL_URL")

folders=("$root/data" "$root/../shared")
[[ -n ${BRANCHSAE_DATA:-} ]] && folders=("$BRANCHSAE_DATA")
for folder in "${folders[@]}"; do
  for file in "$folder"/model/googlenet*.onnx; do
    [[ -f $file && -s $file ]] && { echo "$file"; exit 0; }
  done
done

if [[ ${BRANCHSAE_MODEL_URL:-} != none ]]; then
  for url in "${urls[@]}"; do
    say "== download $url"
    file=${BRANCHSAE_DATA:-$root/data}/model/$name
    "$root/scripts/download.sh" "$url" "$sha256" "$file" && { echo "$file"; exit 0; }
  done
fi
exit 3
