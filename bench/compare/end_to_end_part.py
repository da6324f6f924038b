"""From photos to five trained autoencoders: `branchsae train` beside a PyTorch script that does the same."""
import json

import contenders
import rounds

TAPS = tuple(f"mixed4{letter}.5x5" for letter in "abcde")
HERE = contenders.HERE
# Each its own seed: the held-out FVU of one differs by a factor of two from that of another.
MOST_RUNS = 3


def tokens(context):
    return 100_000 if context.quick else 3_000_000


def our_run(context, folder, seed):
    """Seconds and peak of the whole command, and the held-out FVU of each tap."""
    command = [context.program("branchsae"), "train", context.model, context.images, "--tap", ",".join(TAPS),
               "--tokens", tokens(context), "--k", 32, "--out", folder, "--device", "cpu", "--threads", context.threads,
               "--seed", seed, "--quiet"]
    context.command(command)
    _, measured = context.measured(command)
    fvu = {tap: json.loads((folder / tap / "eval.json").read_text())["fvu"] for tap in TAPS}
    timings = json.loads((folder / "run.json").read_text()).get("timings")
    return measured | {"fvu": fvu, "timings": timings}


def their_run(context, seed):
    command = [context.python, HERE / "torch_end_to_end.py", context.model, context.images, "--taps", ",".join(TAPS),
               "--tokens", tokens(context), "--threads", context.threads, "--seed", seed]
    context.command(["python", *command[1:]])
    output, measured = context.measured(command)
    return measured | json.loads(contenders.last_line(output))


def compare_jobs(context):
    ours, theirs = [], []
    for number in range(1 if context.quick else min(context.rounds, MOST_RUNS)):
        def run_ours(number=number):
            ours.append(our_run(context, context.scratch / f"run {number}", number))
            context.say(f"end to end: ours: {ours[-1]['seconds']:.1f} s")

        def run_theirs(number=number):
            theirs.append(their_run(context, number))
            context.say(f"end to end: PyTorch: {theirs[-1]['seconds']:.1f} s")

        for job in rounds.rotated([run_ours, run_theirs], number):
            job()
    rates = {"ours": [1 / job["seconds"] for job in ours], "PyTorch": [1 / job["seconds"] for job in theirs]}
    return {"part": "end-to-end", "case": "photos to five autoencoders", "tokens": tokens(context), "rates": rates,
            "ratios": {"ours": rounds.ratio(rates["ours"], rates["PyTorch"])}, "ours": ours, "theirs": theirs}


def compare(context):
    if context.model is None or context.images is None:
        context.note("no end-to-end job: --model and --images are needed for it")
        return
    if context.wanted("end-to-end"):
        yield "end-to-end", lambda: compare_jobs(context)
