"""How our cost grows: with the autoencoder's width, and with the number of images."""
import json
import tarfile

import contenders

WIDTHS = (64, 128, 256, 528, 832)  # n = 16 d: 1,024 to 13,312
BATCH = 2048
MOST_RUNS = 2
COUNTS = (1000, 5000, 20000)
TAP, POSITIONS, TRAINED_SHARE = "mixed4c.5x5", 196, 0.9


def width_case(context, d):
    n = 16 * d
    bench = contenders.Ours([context.program("bench_sae_step"), "--shape", f"{BATCH},{d},{n}", "--threads",
                             context.threads, "--seconds", context.seconds, "--json"], "tokens_per_s")
    context.command(bench.command)
    rates = [bench.rate() for _ in range(1 if context.quick else min(context.rounds, MOST_RUNS))]
    best = max(rates)
    return {"part": "scaling", "case": f"width {n}", "d": d, "n": n, "tokens_per_s": best,
            "gflops": 2e-9 * best * n * d, "gemm_gflops": max(result["gemm_gflops"] for result in bench.results),
            "sae_mib": bench.last["sae_mib"]}


def first_images(shards, count, target):
    """A tar of the first so many images of the shards, with what belongs to them."""
    taken = set()
    with tarfile.open(target, "w") as out:
        for shard in shards:
            with tarfile.open(shard) as source:
                for member in source:
                    key = f"{shard}/{member.name.rsplit('.', 1)[0]}"
                    if key not in taken and len(taken) == count:
                        return len(taken)
                    taken.add(key)
                    out.addfile(member, source.extractfile(member) if member.isfile() else None)
    return len(taken)


def images_case(context, count):
    target = context.scratch / f"first-{count}.tar"
    found = first_images(context.shards, count, target)
    if found < count:
        raise contenders.Failure(f"the shards hold {found:,} images, fewer than {count:,}")
    folder = context.scratch / f"images {count}"
    # One pass over all that is trained on.
    command = [context.program("branchsae"), "train", context.model, target, "--tap", TAP, "--tokens",
               int(TRAINED_SHARE * count * POSITIONS), "--out", folder, "--device", "cpu", "--threads", context.threads,
               "--quiet"]
    context.command(command)
    _, measured = context.measured(command)
    target.unlink()
    timings = json.loads((folder / "run.json").read_text()).get("timings") or {}
    return {"part": "scaling", "case": f"images {count}", "images": count, "images_per_s": count / measured["seconds"],
            "timings": timings, **measured}


def compare(context):
    for d in WIDTHS[:2] if context.quick else WIDTHS:
        if context.wanted(f"width {16 * d}"):
            yield f"width {16 * d}", lambda d=d: width_case(context, d)
    if context.model is None or not context.shards:
        context.note("growth with images left out: --model and --shards are needed for it")
        return
    for count in (100, 200) if context.quick else COUNTS:
        if context.wanted(f"images {count}"):
            yield f"images {count}", lambda count=count: images_case(context, count)
