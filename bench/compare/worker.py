"""The process that runs one of theirs: `worker.py KIND OPTIONS`, then a JSON request a line on stdin, an answer a line
on stdout. Kinds: sae (training steps), onnxruntime and torch (the network). Started by contenders.Worker."""
import json
import os
import statistics
import sys
import time


def memory_mib(field):
    """VmHWM: the most this process has held; VmRSS: now."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return None


def rate(work, amount, seconds, warm=2):
    """amount over the median time of work(i) in about this many seconds, at least three runs."""
    for i in range(warm):
        work(i)
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        begin = time.perf_counter()
        work(len(times))
        times.append(time.perf_counter() - begin)
    return {"rate": amount / statistics.median(times), "runs": len(times)}


class SaeSteps:
    """Training steps, all on the same batches from the same start; made when first asked for."""

    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.steps = torch, {}
        self.about = {"threads": torch.get_num_threads()}

    def load(self, tokens, start, batch, k):
        """Turns to a case: files of tokens [N, d] and of an autoencoder."""
        import numpy
        from safetensors.torch import load_file

        self.batch, self.k, self.steps, self.start = batch, k, {}, load_file(start)
        rows = numpy.load(tokens)
        self.batches = [self.torch.from_numpy(rows[i:i + batch]) for i in range(0, len(rows) - batch + 1, batch)]
        return len(self.batches)

    def make(self, name):
        import sae_libraries
        import sae_steps

        if name in sae_steps.VARIANTS:
            return sae_steps.VARIANTS[name](self.start, self.k).step
        return sae_libraries.MAKERS[name](self.start, self.k, self.batch)

    def step_of(self, name):
        if name not in self.steps:
            self.steps[name] = self.make(name)
        return self.steps[name]

    def losses(self, name, count):
        """Of the first steps of a fresh autoencoder."""
        step = self.make(name)
        return [float(step(self.batches[i % len(self.batches)])) for i in range(count)]

    def time(self, name, seconds):
        step = self.step_of(name)
        return rate(lambda i: step(self.batches[i % len(self.batches)]), self.batch, seconds)

    def gemm(self, seconds):
        """GFLOP/s of the encode's product alone, the best run."""
        weight, out = self.start["W"], self.torch.empty(self.batch, self.start["W"].shape[0])
        best, until = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < until or best == 0:
            begin = time.perf_counter()
            self.torch.mm(self.batches[0], weight.T, out=out)
            best = max(best, 2e-9 * self.batch * weight.numel() / (time.perf_counter() - begin))
        return best


class Network:
    """What both runtimes of the network share: images, their output, their speed."""

    def __init__(self, images, threads):
        import numpy

        self.numpy, self.images = numpy, numpy.load(images)
        self.threads = threads
        self.about = {"imported_mib": memory_mib("VmRSS")}

    def output(self, path, batch):
        """Saves what the first images give, channels last; float32 [batch, ...]."""
        found = self.numpy.asarray(self.run_of(batch)(), dtype="f4")
        self.numpy.save(path, found.transpose(0, 2, 3, 1) if found.ndim == 4 else found)
        return path

    def time(self, batch, seconds):
        run = self.run_of(batch)
        return rate(lambda _: run(), batch, seconds)


class OnnxRuntime(Network):
    """ONNX Runtime on the part of the graph that leads to one tensor."""

    def __init__(self, model, end, images, threads):
        import onnxruntime
        from networks import part_of_model

        super().__init__(images, threads)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
        settings.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(part_of_model(model, end), settings,
                                                    providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def run_of(self, batch):
        images = self.images[:batch]
        return lambda: self.session.run(None, {self.name: images})[0]


    def difference(self, path):
        """Largest difference between the output for the images of a file's rows, [N, H, W, C] or [N, C], and the file's
        numbers, over the largest magnitude."""
        found = self.numpy.load(path)
        wanted = self.run_of(len(found))()
        if wanted.ndim == 4:
            wanted = wanted.transpose(0, 2, 3, 1)
        if found.shape != wanted.shape:
            raise ValueError(f"{path} has shape {found.shape}, ONNX Runtime gives {wanted.shape}")
        difference = float(self.numpy.abs(found - wanted).max() / self.numpy.abs(wanted).max())
        return difference if difference == difference else 1e30


class Torch(Network):
    """PyTorch with the same weights, channels last; `how` is a key of networks.WAYS."""

    def __init__(self, model, end, images, threads, how):
        import torch
        from networks import WAYS, module_of

        super().__init__(images, threads)
        torch.set_num_threads(threads)
        self.torch, self.module, self.way, self.ready = torch, module_of(model, end), WAYS[how], {}

    def run_of(self, batch):
        if batch not in self.ready:
            images = self.torch.from_numpy(self.images[:batch]).contiguous(memory_format=self.torch.channels_last)
            with self.torch.inference_mode():
                self.ready[batch] = self.way(self.module, images), images
        function, images = self.ready[batch]

        def run():
            with self.torch.inference_mode():
                return function(images)

        return run


KINDS = {"sae": SaeSteps, "onnxruntime": OnnxRuntime, "torch": Torch}


def answer_requests(contender, requests, say):
    for line in requests:
        request = json.loads(line)
        what = request.pop("do")
        try:
            say(memory_mib("VmHWM") if what == "peak" else getattr(contender, what)(**request))
        except (Exception, SystemExit) as error:  # whatever a library raises, the others go on
            say({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers

    def say(value):
        print(json.dumps(value), file=answers, flush=True)

    try:
        contender = KINDS[sys.argv[1]](**json.loads(sys.argv[2]))
    except (Exception, SystemExit) as error:
        say({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
        return
    say(contender.about)
    answer_requests(contender, sys.stdin, say)


if __name__ == "__main__":
    main()
