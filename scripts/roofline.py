#!/usr/bin/env python3
"""FLOPs, bytes and the time they take at least, for every kernel of a training step (tied, bf16): a model, not measured.

    scripts/roofline.py                             the tables of docs/cuda.md
    scripts/roofline.py --shape 16384,512,8192      one shape, kernel by kernel

The counts are those of the kernels' header comments (cuda/kernels/*.cuh); the ceilings are assumptions until
scripts/gpu_check.sh has measured them. A kernel's time is the largest of its limits; the sum over the kernels leaves out
what waits, so it is a floor. What bounds nothing (sums of 1 MB, descriptors) is left out.
"""
import argparse
import dataclasses
import math

MICRO = 1e6
SLICE = 32  # channels of a slice of ex
WARP_ROWS = 16  # tokens of a warp of encode_topk
SORT_LATENTS, SORT_TILES = 2048, 64
GATHER_SLICES = 4  # slices that a warp of gather_dw sums at once
LAUNCHES, LAUNCH_US = 11, 1.2
DEFAULT_SHAPES = [(65536, 48, 768), (65536, 128, 2048), (32768, 256, 4096), (16384, 512, 8192), (16384, 832, 13312),
                  (16384, 768, 32768), (16384, 4096, 131072)]


@dataclasses.dataclass
class Gpu:
    """Ceilings: dense bf16 products and float32 FMAs in FLOP/s; memory, L2 and shared memory in bytes/s; warp
    instructions/s."""
    name: str
    tensor: float
    fma: float
    memory: float
    l2: float
    shared: float
    issue: float
    shared_bytes: int = 232448
    multiprocessors: int = 132


H100 = Gpu("H100", 800e12, 60e12, 3.0e12, 5.5e12, 29e12, 132 * 4 * 1.7e9)
H200 = Gpu("H200", 790e12, 60e12, 4.3e12, 5.5e12, 29e12, 132 * 4 * 1.7e9)


@dataclasses.dataclass
class Work:
    """What a kernel does; zero where it does not count."""
    kernel: str
    tensor: float = 0  # FLOP on tensor cores
    fma: float = 0  # FLOP elsewhere
    memory: float = 0  # bytes
    l2: float = 0  # bytes that L2 serves, memory's not counted again
    shared: float = 0  # bytes of shared memory
    issue: float = 0  # warp instructions

    def limits(self, gpu):
        """{what bounds it: microseconds}"""
        ceilings = {"tensor cores": (self.tensor, gpu.tensor), "FMA": (self.fma, gpu.fma),
                    "memory": (self.memory, gpu.memory), "L2": (self.l2, gpu.l2),
                    "shared memory": (self.shared, gpu.shared), "issue": (self.issue, gpu.issue)}
        return {name: MICRO * amount / rate for name, (amount, rate) in ceilings.items() if amount}

    def floor(self, gpu):
        """(microseconds, what bounds it)"""
        limits = self.limits(gpu)
        bound = max(limits, key=limits.get)
        return limits[bound], bound


def up(value, unit):
    return -(-value // unit) * unit


def block_rows(d):
    """Tokens of a block of encode_topk: what registers and shared memory of an sm_90 leave room for, k <= 32."""
    return 96 if d <= 128 else 128


def selection_slots(n):
    """Warp instructions that selecting the 32 largest of n takes a warp of 16 rows: to test and append 16 columns, 40;
    a compaction, 700; the last one with its sort, 2,500. Compactions with 24 slots a lane were counted on a CPU, for
    normal data: 3.2, 5.0, 7.4, 9.9 at n = 768, 2048, 8192, 32768, which is 1.24 log2(n / 128)."""
    return 40 * n / 16 + 700 * max(1.24 * math.log2(n / 128), 0) + 2500


def dw_rows(batch, d, n, k, gpu):
    """Tokens of a group of tied_dw in shared memory; 0: gathers from L2. As cuda/sae/gradient_plan.cpp chooses."""
    slices = up(d, SLICE) // SLICE
    fit = gpu.shared_bytes // (2 * SLICE * 2) // 256 * 256
    blocks = -(-gpu.multiprocessors // slices)
    rows = min(fit, up(-(-batch // blocks), 256))
    groups = -(-batch // rows)
    busy = min(1.0, groups * slices / gpu.multiprocessors)
    tile = batch * k * 4 / (H100.shared * busy) + 8 * groups * min(n, rows * k) / H100.memory
    return rows if tile <= batch * k * 4 / H100.l2 + 8 * n / H100.memory else 0


def tied_dw(batch, d, n, k, rows):
    slices, pairs = up(d, SLICE) // SLICE, batch * k
    if rows == 0:
        return Work("tied_dw (gather)", fma=8 * pairs * d, memory=4 * n * d,
                    l2=4 * pairs * d + 16 * pairs * -(-slices // GATHER_SLICES))
    groups = -(-batch // rows)
    return Work("tied_dw (tile)", fma=8 * pairs * d, memory=4 * batch * d + 4 * groups * min(n, rows * k) * d,
                l2=16 * pairs * slices, shared=pairs * 128 * slices)


def step(batch, d, n, k, gpu):
    """Every kernel of a step, in order."""
    pairs, rows = batch * k, dw_rows(batch, d, n, k, gpu)
    ranges, tiles = -(-n // SORT_LATENTS), min(SORT_TILES, -(-batch // 1024))
    groups = -(-batch // rows) if rows else 1
    products = n / 8 * up(d, 16) / 16 * 1.5  # mma.sync and half as many loads, a warp
    return [
        Work("gather_tokens", memory=6 * batch * d),
        Work("encode_topk", tensor=2 * batch * n * d, memory=2 * batch * d + 2 * n * d + 8 * pairs,
             l2=2 * n * d * batch / block_rows(d), issue=batch / WARP_ROWS * (products + selection_slots(n))),
        Work("decode_grad", fma=4 * pairs * d, memory=6 * batch * d + 12 * pairs, l2=2 * pairs * d),
        Work("sort_pairs", memory=4 * pairs * ranges + 8 * pairs * ranges + 24 * pairs + 16 * n * max(tiles, groups)),
        tied_dw(batch, d, n, k, rows),
        Work("adam_project", memory=26 * n * d + 4 * d * groups * min(n, (rows or batch) * k)),
    ]


def dense_us(batch, d, n, gpu):
    """A step with codes as a [B, n] matrix: five products at 75 % of the ceiling and 17 passes over bf16 [B, n]."""
    return MICRO * (5 * 2 * batch * n * d / (0.75 * gpu.tensor) + 17 * 2 * batch * n / gpu.memory)


def number(value):
    """Three digits and a unit's letter."""
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"


def microseconds(value):
    return f"{value:.0f}" if value < 10000 else f"{value / 1000:.0f}k"


def kernel_table(batch, d, n, k, gpu):
    lines = [f"B {batch}, d {d}, n {n}, k {k}; {gpu.name}", "",
             "| kernel | FLOP | bytes of memory | of L2 | of shared memory | instructions | at least | bound by |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for work in step(batch, d, n, k, gpu):
        amounts = (work.tensor or work.fma, work.memory, work.l2, work.shared, work.issue)
        floor, bound = work.floor(gpu)
        lines.append(f"| {work.kernel} | " + " | ".join(number(amount) if amount else "" for amount in amounts) +
                     f" | {floor:.1f} us | {bound} |")
    return "\n".join(lines)


def summary_table(shapes, k):
    lines = ["| d/n/B | [B, n] never stored | " + " | ".join(
        ["encode_topk", "decode_grad", "sort_pairs", "tied_dw", "adam_project"]) +
        " | floor H100 | floor H200 | dense H100 |", "| --- " + "| ---: " * 9 + "|"]
    for batch, d, n in shapes:
        works = step(batch, d, n, k, H100)
        floors = {work.kernel.split(" ")[0]: work.floor(H100)[0] for work in works}
        total = [sum(work.floor(gpu)[0] for work in step(batch, d, n, k, gpu)) + LAUNCHES * LAUNCH_US
                 for gpu in (H100, H200)]
        kernels = [microseconds(floors[name]) for name in ("encode_topk", "decode_grad", "sort_pairs", "tied_dw",
                                                           "adam_project")]
        lines.append(f"| {d}/{n}/{batch // 1024}k | {2 * batch * n / 1e6:.0f} MB | " + " | ".join(kernels) + " | " +
                     " | ".join(map(microseconds, total)) + f" | {microseconds(dense_us(batch, d, n, H100))} |")
    return "\n".join(lines)


def parse_shape(text):
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"needs three positive numbers B,d,n, not '{text}'")
    return shape


def document(k):
    """What docs/cuda.md shows."""
    return summary_table(DEFAULT_SHAPES, k) + "\n\n" + kernel_table(65536, 128, 2048, k, H100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", type=parse_shape, help="B,d,n; may be repeated")
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--gpu", choices=("H100", "H200"), default="H100")
    options = parser.parse_args()
    if options.shape is None:
        print(document(options.k))
    for shape in options.shape or ():
        print(kernel_table(*shape, options.k, {"H100": H100, "H200": H200}[options.gpu]) + "\n")


if __name__ == "__main__":
    main()
