"""The training step of an autoencoder: ours beside PyTorch written in every way, and beside libraries."""
import contextlib
import dataclasses

import contenders
import rounds

K = 32
LOSSES = 5
LOSS_TOLERANCE = 1e-4  # relative: five steps in float32, sums in another order
NORMAL = ((4096, 64, 1024), (4096, 128, 2048), (2048, 528, 8448))
TAPS = ("mixed4c.5x5", "mixed4d.5x5", "mixed4e.5x5", "mixed4d")
PHOTOS = 200  # enough tokens to rotate through
EXPANSION = 16
# sae_steps.VARIANTS and sae_libraries.MAKERS, which cannot be imported without PyTorch
PLAIN = ("embedding_bag", "gather", "dense", "compiled", "compiled dense", "manual csr", "manual bag", "manual dense")
OF_LIBRARY = {"sparsify": ("sparsify",), "overcomplete": ("overcomplete",),
              "dictionary_learning": ("dictionary_learning",), "sae_lens": ("sae_lens", "sae_lens sparse")}


@dataclasses.dataclass
class Case:
    name: str
    batch: int
    d: int
    n: int
    source: object = None  # tokens of a capture; None: normal numbers

    def files(self, context):
        folder = context.folder("sae " + self.name.replace("/", "-"))
        if self.source is None:
            context.arrays("normal", folder, self.batch, self.d, self.n, K)
        else:
            context.arrays("real", folder, self.source, self.n, K)
        return folder / "tokens.npy", folder / "start.safetensors"


def normal_cases(context):
    shapes = NORMAL[:1] if context.quick else NORMAL
    cases = [Case(f"normal {batch}/{d}/{n}", batch, d, n) for batch, d, n in shapes]
    return [case for case in cases if context.wanted(case.name)]


def photo_list(context, most):
    """A file that names photos spread over the folder."""
    photos = sorted(path for path in context.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        raise contenders.Failure(f"{context.images} has no photos")
    chosen = photos[::max(1, len(photos) // most)][:most]
    listing = context.scratch / "photos.txt"
    listing.write_text("".join(f"{path}\n" for path in chosen))
    return listing


def real_cases(context):
    """Tokens of the real network on real photos, where both are at hand."""
    taps = [tap for tap in TAPS[:1 if context.quick else None] if context.wanted(tap)]
    if not taps:
        return []
    if context.model is None or context.images is None:
        context.note("no real tokens: --model and --images are needed for them")
        return []
    folder = context.folder("tokens")
    context.branchsae("capture", context.model, photo_list(context, PHOTOS), "--tap", ",".join(taps), "--tokens",
                      "--out", folder, "--device", "cpu", "--threads", context.threads, "--quiet")
    cases = []
    for tap in taps:
        source = folder / f"{tap}.npy"
        d = npy_shape(source)[1]
        cases.append(Case(f"{tap}", 4096 if d <= 128 else 2048, d, EXPANSION * d, source))
    return cases


def npy_shape(path):
    """From the header, without numpy."""
    import ast

    with open(path, "rb") as file:
        head = file.read(4096)
    text = head[head.index(b"{"):head.index(b"}") + 1].decode("latin1")
    return ast.literal_eval(text)["shape"]


def our_contenders(context, case, tokens, start):
    command = [context.program("bench_sae_step"), "--shape", f"{case.batch},{case.d},{case.n}", "--k", K, "--threads",
               context.threads, "--seconds", context.seconds, "--tokens", tokens, "--start", start, "--losses", LOSSES,
               "--json"]
    return {"ours": contenders.Ours(command, "tokens_per_s"),
            "ours, AVX2": contenders.Ours(command, "tokens_per_s", {"BRANCHSAE_SIMD": "avx2"})}


def check_losses(context, case, ours, plain):
    """Every way in PyTorch shows our first losses. Returns the largest relative difference and the ways; such as cannot
    run here are noted and left out."""
    wanted, worst, able = ours.run()["losses"], 0.0, []
    for name in PLAIN:
        try:
            found = plain.ask("losses", name=name, count=LOSSES)
        except contenders.Failure as error:
            context.note(f"{case.name}: PyTorch, {name} left out: {error}")
            continue
        worst = max(worst, rounds.check_close(f"{case.name}: losses of PyTorch ({name}) and ours", found, wanted,
                                              LOSS_TOLERANCE))
        able.append(name)
    return worst, able


def loaded(context, workers, case, tokens, start):
    """The workers that could turn to the case."""
    ready = {}
    for name, worker in workers.items():
        try:
            worker.ask("load", tokens=str(tokens), start=str(start), batch=case.batch, k=K)
            ready[name] = worker
        except contenders.Failure as error:
            context.note(f"{case.name}: {name} left out: {error}")
    return ready


def compare_case(context, case, workers):
    tokens, start = case.files(context)
    ours = our_contenders(context, case, tokens, start)
    context.command(ours["ours"].command)
    ready = loaded(context, workers, case, tokens, start)
    plain = ready["plain"]
    difference, able = check_losses(context, case, ours["ours"], plain)

    def rate_of(worker, name):
        return lambda: worker.ask("time", name=name, seconds=context.seconds)["rate"]

    race = [rounds.Contender(name, one.rate, ours=True) for name, one in ours.items()]
    race += [rounds.Contender(f"PyTorch, {name}", rate_of(plain, name)) for name in able]
    race += [rounds.Contender(name, rate_of(worker, name)) for library, worker in ready.items() if library != "plain"
             for name in OF_LIBRARY[library]]
    rates = rounds.take_rounds(race, context.rounds, lambda text: context.say(f"{case.name}: {text}"),
                               lambda name, error: context.note(f"{case.name}: {name} left out: {error}"),
                               (contenders.Failure,))
    return summary(context, case, ours, rates, difference, plain.ask("gemm", seconds=0.5), tokens, start)


def peak_of(context, case, name, tokens, start):
    """Memory of a process that takes only this step."""
    with context.worker("sae", threads=context.threads) as worker:
        worker.ask("load", tokens=str(tokens), start=str(start), batch=case.batch, k=K)
        worker.ask("losses", name=name.removeprefix("PyTorch, "), count=3)
        return worker.ask("peak")


def summary(context, case, ours, rates, difference, torch_gemm, tokens, start):
    if "ours" not in rates:
        raise contenders.Failure(f"{case.name}: ours could not be timed")
    best = rounds.fastest(rates, [name for name in rates if name not in ours])
    first = ours["ours"].results
    gemm = max([torch_gemm] + [result["gemm_gflops"] for result in first])
    flop = 2e-9 * case.n * case.d
    found = {"part": "sae", "case": case.name, "batch": case.batch, "d": case.d, "n": case.n, "k": K,
             "unit": "tokens/s", "rates": rates,
             "medians": {name: rounds.median(values) for name, values in rates.items()},
             "best": best, "loss_difference": difference, "gemm_gflops": gemm,
             "fma_gflops": max(result["fma_gflops"] for result in first), "density": first[-1]["density"],
             "percent_of_gemm": 100 * rounds.median(rates["ours"]) * flop / gemm, "kernels": first[-1]["kernels"],
             "ours_mib": max(result["peak_process_mib"] for result in first), "sae_mib": first[-1]["sae_mib"],
             "ratios": {}}
    if best:
        found["ratios"] = {name: rounds.ratio(rates[name], rates[best]) for name in ours if name in rates}
        found["theirs_mib"] = peak_of(context, case, best, tokens, start)
    return found


def compare(context):
    """Yields a result a case. A case that fails is noted by the caller."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in ["plain"] + [name for name in OF_LIBRARY if name in context.libraries]:
            workers[name] = stack.enter_context(context.worker("sae", threads=context.threads))
        for case in normal_cases(context) + real_cases(context):
            yield case.name, lambda case=case: compare_case(context, case, workers)
