#!/usr/bin/env python3
"""The training step of a tied TopK autoencoder in PyTorch and Triton, for comparison with build/bin/bench_sae_step.

    python bench/baselines/gpu_sae_step.py --shape 65536,128,2048 --variant dense,compiled,triton,openai
    python bench/baselines/gpu_sae_step.py --device cpu --check

Needs PyTorch with CUDA and Triton; both are in `pip install torch`. Each variant is first compared with double precision
at a small size, then timed with CUDA events over replays of CUDA graphs; four inputs take turns. Tokens and weights
follow bench_sae_step's distributions: normal tokens, rows of W of norm 1/2. One JSON line a variant and shape.

  dense     codes as a [B, n] matrix, autograd
  compiled  the same through torch.compile
  gather    chosen rows of W gathered into [B, k, d], autograd (small shapes only)
  triton    u stored, torch.topk, Triton kernels over pairs sorted by latent; both gradients of W in one pass
  openai    the same with a pass for each gradient of W
"""
import argparse
import json
import os
import sys

DEFAULT_SHAPES = ["65536,48,768", "65536,128,2048", "16384,512,8192", "16384,768,32768"]
SMALL = (64, 48, 192, 8)  # B, d, n, k of the check
INPUTS = 4
GATHER_LIMIT = 2**31  # elements of [B, k, d]


def parse_shape(text):
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"needs three positive numbers B,d,n, not '{text}'")
    return shape


def tokens(batch, d, seed, device):
    import torch

    return torch.randn(batch, d, generator=torch.Generator().manual_seed(seed)).to(device)


def small_check(kind, options):
    """Relative difference from double precision, in float32 and in the precision that is timed."""
    import topk_sae
    import torch

    batch, d, n, k = SMALL
    worst = {}
    for name in dict.fromkeys(("fp32", options.precision)):
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
        variant = kind(d, n, k, dtype, options.device)
        worst[name] = topk_sae.check(variant, tokens(batch, d, 2, options.device))
    return worst


def run_case(name, shape, options):
    """One JSON object."""
    import timing
    import topk_sae
    import torch

    batch, d, n = shape
    kind = topk_sae.VARIANTS[name]
    result = {"case": "sae_step", "baseline": name, "batch": batch, "d": d, "n": n, "k": options.k,
              "precision": options.precision, "device": options.device} | timing.machine(options.device)
    if name == "gather" and batch * options.k * d > GATHER_LIMIT:
        return result | {"left_out": f"[B, k, d] of {batch * options.k * d} elements"}
    try:
        result["difference"] = small_check(kind, options)
        if options.check:
            return result
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.precision]
        variant = kind(d, n, options.k, dtype, options.device)
        inputs = [tokens(batch, d, 10 + i, options.device) for i in range(INPUTS)]
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        steps = [lambda x=x: variant.step(x) for x in inputs]
        result |= timing.measure(steps, options.seconds, options.device)
        if options.device == "cuda":
            result["peak_mib"] = torch.cuda.max_memory_reserved() / 2**20
    except (ArithmeticError, RuntimeError, ImportError) as error:
        return result | {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return result | {"tokens_per_s": 1e3 * batch / result["ms_median"]}


def prepare(options):
    """Variants to run; those that need Triton only where it can run."""
    import timing
    import topk_sae
    import torch

    timing.need(options.device)
    names = options.variant.split(",") if options.variant else list(topk_sae.VARIANTS)
    for name in names:
        if name not in topk_sae.VARIANTS:
            raise SystemExit(f"unknown variant '{name}'; there are {', '.join(topk_sae.VARIANTS)}")
    if options.device == "cpu":
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        left_out = [name for name in names if name in topk_sae.NEEDS_TRITON and not interpreted]
        if left_out:
            print(f"left out on a CPU: {', '.join(left_out)} (TRITON_INTERPRET=1 checks them)", file=sys.stderr)
        names = [name for name in names if name not in left_out]
    torch.backends.cuda.matmul.allow_tf32 = False
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", type=parse_shape, help="B,d,n; may be repeated")
    parser.add_argument("--variant", help="comma-separated; default all")
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=1, help="of timed steps a case")
    parser.add_argument("--check", action="store_true", help="only compare with double precision, at a small size")
    options = parser.parse_args()
    try:
        names = prepare(options)
    except ImportError as error:
        sys.exit(f"gpu_sae_step.py: {error}; pip install torch")
    shapes = [SMALL[:3]] if options.check else options.shape or [parse_shape(text) for text in DEFAULT_SHAPES]
    if options.check:
        options.k = SMALL[3]
    failed = False
    for shape in shapes:
        for name in names:
            result = run_case(name, shape, options)
            failed |= "error" in result
            print(json.dumps(result), flush=True)
            if options.device == "cuda":
                import torch

                torch.cuda.empty_cache()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
