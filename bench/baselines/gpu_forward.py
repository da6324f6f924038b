#!/usr/bin/env python3
"""The network's forward pass in PyTorch, channels last and compiled, for comparison with build/bin/bench_forward.

    python bench/baselines/gpu_forward.py --onnx googlenet.onnx --batch 256
    python bench/baselines/gpu_forward.py --onnx googlenet.onnx --device cpu --check

The graph and its weights are those of the ONNX file; every node that the tensor --to needs becomes the PyTorch function
of its name. Checked against ONNX Runtime where that is installed, and the timed precision against float32, then timed
with CUDA events over replays of CUDA graphs; four inputs take turns. One JSON line a batch size.
"""
import argparse
import json
import pathlib
import sys

INPUTS = 4
SIDE = 224  # of images, where the model leaves it open
# Names of a layer's end in the BVLC model; any tensor's name can be given.
ENDS = {f"mixed{block}": f"inception_{block}/output" for block in "3a 3b 4a 4b 4c 4d 4e 5a 5b".split()}
# Relative norm of the difference after some 50 layers that each round to 8 or 11 bits; float32 sums in another order.
TOLERANCE = {"bf16": 3e-2, "fp16": 5e-3, "fp32": 1e-4}


def attributes(node):
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def window(options):
    """Stride and symmetric padding of a convolution or pool."""
    pads = options.get("pads", [0, 0, 0, 0])
    if options.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:2] != pads[2:]:
        raise SystemExit(f"padding {pads} differs from side to side, which this script does not do")
    return {"stride": tuple(options.get("strides", (1, 1))), "padding": tuple(pads[:2])}


def convolution(options):
    from torch.nn import functional

    extra = window(options) | {"dilation": tuple(options.get("dilations", (1, 1))), "groups": options.get("group", 1)}
    return lambda x, w, b=None: functional.conv2d(x, w, b, **extra)


def max_pool(options):
    from torch.nn import functional

    extra = window(options) | {"ceil_mode": bool(options.get("ceil_mode", 0))}
    return lambda x: functional.max_pool2d(x, tuple(options["kernel_shape"]), **extra)


def average_pool(options):
    from torch.nn import functional

    extra = window(options) | {"ceil_mode": bool(options.get("ceil_mode", 0)),
                               "count_include_pad": bool(options.get("count_include_pad", 0))}
    return lambda x: functional.avg_pool2d(x, tuple(options["kernel_shape"]), **extra)


def normalisation(options):
    """By shifted sums of squares, which torch.compile fuses; functional.local_response_norm goes through a 3-D pool."""
    from torch.nn import functional

    size, alpha, beta = options["size"], options.get("alpha", 1e-4), options.get("beta", 0.75)
    below = (size - 1) // 2

    def run(x):
        wide = functional.pad(x.float().square(), (0, 0, 0, 0, below, size - 1 - below))
        total = sum(wide[:, i:i + x.shape[1]] for i in range(size))
        return (x * (options.get("bias", 1.0) + alpha / size * total) ** -beta).to(x.dtype)

    return run


def operations():
    """{ONNX operation: attributes -> function}"""
    import torch

    return {"Conv": convolution, "MaxPool": max_pool, "AveragePool": average_pool, "LRN": normalisation,
            "Relu": lambda options: torch.relu,
            "Concat": lambda options: lambda *parts: torch.cat(parts, options["axis"]),
            "Add": lambda options: torch.add, "Mul": lambda options: torch.mul,
            "Dropout": lambda options: lambda x, *rest: x, "Identity": lambda options: lambda x: x}


class Network:
    """The part of an ONNX graph that one tensor needs."""

    def __init__(self, path, end):
        import numpy
        import onnx
        import torch

        graph = onnx.load(path).graph
        weights = {item.name: torch.from_numpy(numpy.array(onnx.numpy_helper.to_array(item)))
                   for item in graph.initializer}
        producers = {name: node for node in graph.node for name in node.output}
        if end not in producers:
            raise SystemExit(f"{path} has no tensor '{end}'")
        wanted, waiting = set(), [end]
        while waiting:
            node = producers.get(waiting.pop())
            if node is not None and id(node) not in wanted:
                wanted.add(id(node))
                waiting += node.input
        known = operations()
        self.steps = []
        for node in graph.node:
            if id(node) not in wanted:
                continue
            if node.op_type not in known:
                raise SystemExit(f"{path}: {node.op_type} ({node.name or node.output[0]}) is not known to this script")
            inputs = [name for name in node.input if name]
            self.steps.append((known[node.op_type](attributes(node)), inputs, node.output[0]))
        used = {name for _, inputs, _ in self.steps for name in inputs}
        self.weights = {name: value for name, value in weights.items() if name in used}
        sources = [item for item in graph.input if item.name in used and item.name not in weights]
        if len(sources) != 1:
            raise SystemExit(f"{path}: {len(sources)} inputs lead to '{end}', not one")
        self.input, self.end = sources[0].name, end
        self.channels, height, width = (item.dim_value for item in sources[0].type.tensor_type.shape.dim[1:])
        self.height, self.width = height or SIDE, width or SIDE

    def to(self, dtype, device):
        """A function of images in this precision, weights channels last."""
        import torch

        weights = {}
        for name, value in self.weights.items():
            value = value.to(device=device, dtype=dtype if value.is_floating_point() else value.dtype)
            weights[name] = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        steps, source, end = self.steps, self.input, self.end

        def run(images):
            values = {source: images}
            for function, inputs, output in steps:
                values[output] = function(*(weights[name] if name in weights else values[name] for name in inputs))
            return values[end]

        return run

    def images(self, batch, seed, dtype, device):
        """Normal numbers of the size of preprocessed pixels, as bench_forward takes them."""
        import torch

        shape = (batch, self.channels, self.height, self.width)
        images = 60 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return images.to(device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)


def relative(found, wanted):
    difference = float((found.double() - wanted.double()).norm() / wanted.double().norm())
    return difference if difference == difference else float("inf")


def against_onnxruntime(path, network):
    """Relative difference in float32 on a CPU; None without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    import onnx
    import torch

    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(network.end))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    declared = session.get_inputs()[0].shape[0]
    images = network.images(declared if isinstance(declared, int) else 2, 1, torch.float32, "cpu")
    wanted = session.run(None, {network.input: images.contiguous().numpy()})[0]
    with torch.no_grad():
        return relative(network.to(torch.float32, "cpu")(images), torch.from_numpy(wanted))


def checked(what, difference, tolerance):
    if difference is not None and not difference <= tolerance:
        raise SystemExit(f"{what}: relative difference {difference:.1e}, more than {tolerance:.0e}")
    return difference


def run(options):
    import timing
    import torch

    timing.need(options.device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[options.precision]
    network = Network(options.onnx, ENDS.get(options.to, options.to))
    checks = {"difference_from_onnxruntime": checked("beside ONNX Runtime", against_onnxruntime(options.onnx, network),
                                                     TOLERANCE["fp32"])}
    function = network.to(dtype, options.device)
    with torch.inference_mode():
        images = network.images(2, 2, torch.float32, options.device)
        checks["difference_from_float32"] = checked(
            f"{options.precision} beside float32",
            relative(function(images.to(dtype)), network.to(torch.float32, options.device)(images)),
            TOLERANCE[options.precision])
        fast = torch.compile(function, mode="max-autotune-no-cudagraphs" if options.tune else None) \
            if options.compile else function
        for batch in () if options.check else options.batch:
            inputs = [network.images(batch, 10 + i, dtype, options.device) for i in range(INPUTS)]
            times = timing.measure([lambda x=x: fast(x) for x in inputs], options.seconds, options.device)
            print(json.dumps({"case": "forward", "baseline": "pytorch" + (" compiled" if options.compile else ""),
                              "to": options.to, "batch": batch, "precision": options.precision,
                              "device": options.device}
                             | timing.machine(options.device) | checks | times
                             | {"images_per_s": 1e3 * batch / times["ms_median"]}), flush=True)
        if options.check:
            print(json.dumps({"case": "forward", "to": options.to, "precision": options.precision} | checks))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=pathlib.Path, required=True)
    parser.add_argument("--to", default="mixed4e", help="last layer or tensor to compute")
    parser.add_argument("--batch", default="256", help="batch sizes, comma-separated",
                        type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="bf16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=2, help="of timed runs a batch size")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--tune", action="store_true", help="let torch.compile try kernels (minutes)")
    parser.add_argument("--check", action="store_true", help="only compare, do not time")
    options = parser.parse_args()
    if not options.onnx.is_file():
        sys.exit(f"gpu_forward.py: {options.onnx}: no such file")
    try:
        run(options)
    except ImportError as error:
        sys.exit(f"gpu_forward.py: {error}; pip install torch onnx")


if __name__ == "__main__":
    main()
