#!/usr/bin/env bash
# Checks and measures a build on a machine with a GPU.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/gpu_check.sh [--model googlenet.onnx] [options]

Runs on a machine with an NVIDIA GPU what no other machine can: the kernels' tests on the device, device against emulator,
the sanitizers, the benchmarks with their ceilings, PyTorch's figures for the same work, two runs that must end in the same
bytes. Takes at most ten minutes, needs neither a compiler nor a network. Each part has its own time limit, and a part that
fails does not keep the others from running. Writes OUT.md and OUT.json.
  --model FILE    the network; without it the parts that need it are left out (default: as scripts/quickstart.sh finds it)
  --build DIR     a build made with CUDA and tests (default: build, or $BRANCHSAE_BUILD_DIR)
  --out OUT       what the two files are called, without the ending (default: gpu-check)
  --python PROG   has PyTorch and Triton, for the baselines (default: $BRANCHSAE_PYTHON, else python3)
  --only A,B      these parts: tests, emulator, sanitizers, benches, baselines, repeats
  --minutes N     time for all parts together (default: 10)
Exit code: 0 when nothing failed, 1 when something did or no GPU answers, 2 for wrong usage.
Example: scripts/gpu_check.sh --model data/model/googlenet.onnx --out bench/results/$(date +%F)-h200
TEXT
}

for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
  esac
done
have python3 || die "python3 is not installed"
model=()
case " $* " in
  *" --model"*) ;;
  *)
    found=$(BRANCHSAE_MODEL_URL=none "$root/scripts/find_model.sh" 2>/dev/null || true)
    [[ -f $found ]] && model=(--model "$found")
    ;;
esac
PYTHONPATH=$root/scripts PYTHONDONTWRITEBYTECODE=1 exec python3 -m gpu_check --build "$build" "${model[@]}" "$@"
