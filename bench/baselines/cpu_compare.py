#!/usr/bin/env python3
"""Our CPU figures beside ONNX Runtime (forward pass) and PyTorch (training step of a tied TopK autoencoder).

    python3 -m venv baselines && baselines/bin/pip install numpy onnxruntime torch
    baselines/bin/python bench/baselines/cpu_compare.py --onnx googlenet.onnx

Ours and theirs take turns, round by round, on the same number of threads; a round's ratio compares neighbours in time,
and the median of the rounds' ratios is reported, so that a machine whose speed drifts does not decide the result.
PyTorch's step is written three ways (gathered rows, embedding_bag, dense codes); the fastest is what we are compared
with.
"""
import argparse
import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

DEFAULT_SHAPES = ["4096,64,1024", "4096,128,2048", "2048,528,8448"]
LEARNING_RATE = 1e-3


def run_ours(command):
    """The one JSON line that a benchmark prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed ({done.returncode}): {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def median_seconds(step, seconds, warm=2):
    """Median time of step() over about this many seconds, at least three runs."""
    for _ in range(warm):
        step()
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class Forward:
    """One batch size of the network."""

    def __init__(self, options, batch):
        import numpy as np
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(options.onnx), settings, providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        declared = [size if isinstance(size, int) else None for size in source.shape]
        if declared[0] not in (None, batch):
            sys.exit(f"{options.onnx} fixes its batch at {declared[0]}: ONNX Runtime cannot run {batch}")
        shape = [batch, declared[1] or 3, declared[2] or 224, declared[3] or 224]
        images = np.random.default_rng(1).normal(scale=60, size=shape).astype(np.float32)
        self.step = lambda: session.run(None, {source.name: images})
        if not all(np.isfinite(output).all() for output in self.step()):
            sys.exit("ONNX Runtime's output is not finite")
        self.name, self.unit, self.amount = f"forward, batch {batch}", "images/s", batch
        self.ours = [options.bin / "bench_forward", options.onnx, "--batch", str(batch), "--threads",
                     str(options.threads), "--seconds", str(options.seconds), "--json"]

    def theirs(self, seconds):
        return {"onnxruntime": self.amount / median_seconds(self.step, seconds)}

    @staticmethod
    def rate(result):
        return result["images_per_s"]


class TiedSae:
    """u = W (x - b_pre) + b_enc, the k largest positive kept, x_hat = W^T z + b_pre, Adam on the mean of |x - x_hat|^2."""

    def __init__(self, batch, d, n, k, decode):
        import torch

        generator = torch.Generator().manual_seed(1)
        self.torch, self.k, self.n = torch, k, n
        weight = torch.randn(n, d, generator=generator) * (0.5 / d**0.5)
        self.weight = torch.nn.Parameter(weight)
        self.b_enc = torch.nn.Parameter(torch.zeros(n))
        self.b_pre = torch.nn.Parameter(torch.zeros(d))
        parameters = [self.weight, self.b_enc, self.b_pre]
        try:
            self.adam = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        except (RuntimeError, ValueError):  # older versions have it for GPUs only
            self.adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        self.inputs = [torch.randn(batch, d, generator=generator) for _ in range(4)]
        self.decode = getattr(self, decode)
        self.steps = 0

    def gather(self, values, indices):
        return self.torch.einsum("bk,bkd->bd", values, self.weight[indices])

    def embedding_bag(self, values, indices):
        return self.torch.nn.functional.embedding_bag(indices, self.weight, per_sample_weights=values, mode="sum")

    def dense(self, values, indices):
        codes = self.torch.zeros(values.shape[0], self.n).scatter(1, indices, values)
        return codes @ self.weight

    def loss(self, x):
        u = self.torch.addmm(self.b_enc, x - self.b_pre, self.weight.T)
        values, indices = u.topk(self.k, dim=1, sorted=False)
        x_hat = self.decode(values.relu(), indices) + self.b_pre
        return (x - x_hat).square().sum(1).mean()

    def __call__(self):
        loss = self.loss(self.inputs[self.steps % len(self.inputs)])
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        self.steps += 1


class SaeStep:
    """One shape of the training step."""

    def __init__(self, options, text):
        import torch

        torch.set_num_threads(options.threads)
        batch, d, n = map(int, text.split(","))
        self.steps = {f"torch {how}": TiedSae(batch, d, n, options.k, how)
                      for how in ("gather", "embedding_bag", "dense")}
        losses = [step.loss(step.inputs[0]).item() for step in self.steps.values()]
        if max(losses) - min(losses) > 1e-4 * max(losses):
            sys.exit(f"the PyTorch steps disagree: losses {losses}")
        self.name, self.unit, self.amount = f"SAE step, {batch}/{d}/{n}", "tokens/s", batch
        self.ours = [options.bin / "bench_sae_step", "--shape", text, "--k", str(options.k), "--threads",
                     str(options.threads), "--seconds", str(options.seconds), "--json"]

    def theirs(self, seconds):
        share = seconds / len(self.steps)
        return {name: self.amount / median_seconds(step, share) for name, step in self.steps.items()}

    @staticmethod
    def rate(result):
        return result["tokens_per_s"]


def compare(case, options):
    """Rounds of ours, theirs; the order changes from round to round."""
    ours, theirs = [], []
    for number in range(options.rounds):
        print(f"{case.name}: round {number + 1} of {options.rounds}", file=sys.stderr)
        if number % 2 == 0:
            ours.append(case.rate(run_ours(case.ours)))
        theirs.append(case.theirs(options.seconds))
        if number % 2 == 1:
            ours.append(case.rate(run_ours(case.ours)))
    baselines = {name: statistics.median(rates[name] for rates in theirs) for name in theirs[0]}
    best = max(baselines, key=baselines.get)
    ratios = sorted(mine / rates[best] for mine, rates in zip(ours, theirs))
    return {"case": case.name, "unit": case.unit, "ours": statistics.median(ours), "baselines": baselines,
            "baseline": best, "ratio": statistics.median(ratios), "ratio_least": ratios[0], "ratio_most": ratios[-1]}


def versions():
    found = {}
    for name in ("onnxruntime", "torch", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def processor():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def print_markdown(report):
    names = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"{report['processor']}, {report['threads']} threads, {report['rounds']} rounds; {names}\n")
    print("| case | ours | baseline | ratio | rounds |\n| --- | ---: | ---: | ---: | ---: |")
    for case in report["cases"]:
        print(f"| {case['case']} | {case['ours']:,.0f} {case['unit']} | {case['baselines'][case['baseline']]:,.0f} "
              f"({case['baseline']}) | {case['ratio']:.2f} | {case['ratio_least']:.2f}-{case['ratio_most']:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=pathlib.Path, help="network for the forward pass; left out when not given")
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/bin"), help="where our benchmarks are")
    parser.add_argument("--batch", default="1,8,32", help="batch sizes of the forward pass")
    parser.add_argument("--shape", action="append", help="B,d,n of a training step; may be repeated")
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-sae", action="store_true", help="forward pass only")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a Markdown table")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1 or options.seconds <= 0:
        parser.error("--rounds, --threads and --seconds must be positive")

    # Made one after the other: idle sessions of the other cases would hold memory and threads.
    makers = [(Forward, int(batch)) for batch in options.batch.split(",")] if options.onnx else []
    if not options.no_sae:
        makers += [(SaeStep, shape) for shape in options.shape or DEFAULT_SHAPES]
    report = {"processor": processor(), "threads": options.threads, "rounds": options.rounds,
              "seconds": options.seconds, "versions": versions(),
              "cases": [compare(make(options, argument), options) for make, argument in makers]}
    if options.json:
        print(json.dumps(report))
    else:
        print_markdown(report)


if __name__ == "__main__":
    main()
