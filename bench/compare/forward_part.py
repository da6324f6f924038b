"""The network's forward pass: ours beside ONNX Runtime on the same file and PyTorch with the same weights."""
import contextlib
import json

import contenders
import rounds
from sae_part import npy_shape

ENDS = ("mixed4e", "logits")
BATCHES = (1, 8, 32)
TOLERANCE = 1e-4  # largest error over the largest magnitude, which every mode has to meet
OUR_MODES = {"ours": "auto", "ours, direct": "direct"}
THEIR_MODES = ("frozen", "compiled")


def tensors(context):
    """{end: its tensor's name in the file}, and the side of the images."""
    described = json.loads(context.branchsae("inspect", context.model, "--json"))
    names = {layer["layer"]: layer["tensor"] for layer in described["layers"]}
    names["logits"] = context.run([context.python, "-c", "import sys, networks; print(networks.logits(sys.argv[1]))",
                                   context.model], {"PYTHONPATH": str(contenders.HERE)}).strip()
    return names, (described["input"]["height"], described["input"]["width"])


def our_modes(context):
    """Those that the command can be asked for; else the benchmark compares the rest with its default."""
    if "--conv" in context.branchsae("capture", "--help"):
        return OUR_MODES
    return {"ours": None}


def our_output(context, images, tensor, folder, conv):
    """What `branchsae capture` writes for these pixels."""
    folder = folder / (conv or "auto")
    context.branchsae("capture", context.model, images, "--tap", tensor, "--out", folder, "--device", "cpu",
                      "--threads", context.threads, "--quiet", *(["--conv", conv] if conv else []))
    found = sorted(folder.glob("*.npy"))
    if len(found) != 1:
        raise contenders.Failure(f"capture of {tensor} left {len(found)} arrays in {folder}")
    return found[0]


def check_outputs(context, end, tensor, images, workers):
    """Errors against ONNX Runtime on the same images; raises Disagreement above the tolerance."""
    folder = context.folder(f"forward {end}")
    reference = workers["ONNX Runtime"]
    count = npy_shape(images)[0]
    outputs = {mode: our_output(context, images, tensor, folder, conv) for mode, conv in our_modes(context).items()}
    for name, worker in workers.items():
        if worker is not reference:
            path = folder / f"{name}.npy"
            outputs[name] = worker.ask("output", path=str(path), batch=count)
    errors = {name: reference.ask("difference", path=str(path)) for name, path in outputs.items()}
    for name, error in errors.items():
        if not error <= TOLERANCE:
            raise rounds.Disagreement(f"{end}: {name} differs from ONNX Runtime by {error:.1e} of the largest value, "
                                      f"more than {TOLERANCE:.0e}")
    return errors


def start_workers(context, stack, tensor, images):
    """ONNX Runtime, and PyTorch as far as it can."""
    common = {"model": str(context.model), "end": tensor, "images": str(images), "threads": context.threads}
    workers = {"ONNX Runtime": stack.enter_context(context.worker("onnxruntime", **common))}
    for how in THEIR_MODES:
        try:
            workers[f"PyTorch, {how}"] = stack.enter_context(context.worker("torch", how=how, **common))
        except contenders.Failure as error:
            context.note(f"PyTorch, {how} left out: {error}")
    return workers


def our_contenders(context, tensor, batch):
    command = [context.program("bench_forward"), context.model, "--to", tensor, "--batch", batch, "--input", "f32",
               "--threads", context.threads, "--seconds", context.seconds, "--json"]
    return {name: contenders.Ours([*command, "--conv", conv], "images_per_s") for name, conv in OUR_MODES.items()}


def our_peak(context, tensor, images):
    """Of a whole process that reads the network and the batch, runs it once and writes the output."""
    out = context.folder("forward peak")
    command = [context.program("branchsae"), "capture", context.model, images, "--tap", tensor, "--out", out, "--batch",
               npy_shape(images)[0], "--device", "cpu", "--threads", context.threads, "--quiet"]
    return context.measured(command)[1]["peak_mib"]


def their_peak(context, name, tensor, images, batch):
    """Of a process that does nothing else; and what of it the imported libraries take."""
    kind, options = ("onnxruntime", {}) if name == "ONNX Runtime" else ("torch", {"how": name.split(", ")[1]})
    with context.worker(kind, model=str(context.model), end=tensor, images=str(images), threads=context.threads,
                        **options) as worker:
        worker.ask("time", batch=batch, seconds=0)
        return {"peak_mib": worker.ask("peak"), "imported_mib": worker.about["imported_mib"]}


def compare_batch(context, end, tensor, side, batch, workers, errors):
    name = f"{end}, batch {batch}"
    ours = our_contenders(context, tensor, batch)
    context.command(ours["ours"].command)

    def rate_of(worker):
        return lambda: worker.ask("time", batch=batch, seconds=context.seconds)["rate"]

    race = [rounds.Contender(mode, one.rate, ours=True) for mode, one in ours.items()]
    race += [rounds.Contender(their, rate_of(worker)) for their, worker in workers.items()]
    rates = rounds.take_rounds(race, context.rounds, lambda text: context.say(f"{name}: {text}"),
                               lambda who, error: context.note(f"{name}: {who} left out: {error}"),
                               (contenders.Failure,), narrow=False)
    if "ours" not in rates:
        raise contenders.Failure(f"{name}: ours could not be timed")
    context.arrays("images", context.folder(f"batch {batch}"), batch, *side)
    images = context.folder(f"batch {batch}") / "images.npy"
    memory = {"ours": {"peak_mib": our_peak(context, tensor, images)}}
    for who in ("ONNX Runtime", "PyTorch, frozen"):
        if who in rates:
            memory[who] = their_peak(context, who, tensor, images, batch)
    measured = {mode: one.results for mode, one in ours.items() if one.results}
    return {"part": "forward", "case": name, "end": end, "batch": batch, "unit": "images/s", "rates": rates,
            "medians": {who: rounds.median(values) for who, values in rates.items()}, "errors": errors,
            "direct_difference": ours["ours"].last["difference_from_direct"], "memory": memory,
            "gflop_per_image": ours["ours"].last["gflop_per_image"],
            "fma_gflops": max(result["fma_gflops"] for results in measured.values() for result in results),
            "percent_of_fma": {mode: rounds.median([result["percent_of_fma_peak"] for result in results])
                               for mode, results in measured.items()},
            "ratios": {mode: {who: rounds.ratio(rates[mode], rates[who]) for who in rates if who not in ours}
                       for mode in ours if mode in rates}}


def compare(context):
    if context.model is None:
        context.note("no forward pass: --model is needed for it")
        return
    names, side = tensors(context)
    batches = BATCHES[:2] if context.quick else BATCHES
    for end in ENDS:
        wanted = [batch for batch in batches if context.wanted(f"{end}, batch {batch}")]
        if not wanted:
            continue
        context.arrays("images", context.folder("forward"), max(batches), *side)
        context.arrays("images", context.folder("forward check"), 8, *side)
        with contextlib.ExitStack() as stack:
            workers = start_workers(context, stack, names[end], context.folder("forward") / "images.npy")
            errors = check_outputs(context, end, names[end], context.folder("forward check") / "images.npy", workers)
            for batch in wanted:
                yield f"{end}, batch {batch}", lambda batch=batch: compare_batch(context, end, names[end], side, batch,
                                                                                 workers, errors)
