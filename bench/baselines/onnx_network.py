"""The part of an ONNX graph that one tensor needs, as PyTorch functions with the file's weights."""
SIDE = 224  # of images, where the model leaves it open
# Names of a layer's end in the BVLC model; any tensor's name can be given.
ENDS = {f"mixed{block}": f"inception_{block}/output" for block in "3a 3b 4a 4b 4c 4d 4e 5a 5b".split()}


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


def linear(options):
    from torch.nn import functional

    if options.get("transA", 0) or options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
        raise SystemExit("a Gemm with transA, alpha or beta, which this script does not do")
    turned = bool(options.get("transB", 0))
    return lambda x, w, b=None: functional.linear(x, w if turned else w.T, b)


def operations():
    """{ONNX operation: attributes -> function}"""
    import torch

    return {"Conv": convolution, "MaxPool": max_pool, "AveragePool": average_pool, "LRN": normalisation,
            "Relu": lambda options: torch.relu,
            "Concat": lambda options: lambda *parts: torch.cat(parts, options["axis"]),
            "Gemm": linear, "GlobalAveragePool": lambda options: lambda x: x.mean((2, 3), keepdim=True),
            "Flatten": lambda options: lambda x: x.flatten(options.get("axis", 1)),
            "Reshape": lambda options: lambda x, shape: x.reshape([x.shape[i] if size == 0 else int(size)
                                                                   for i, size in enumerate(shape.tolist())]),
            "Softmax": lambda options: lambda x: torch.softmax(x, options.get("axis", -1)),
            "Add": lambda options: torch.add, "Mul": lambda options: torch.mul,
            "Dropout": lambda options: lambda x, *rest: x, "Identity": lambda options: lambda x: x}


class Network:
    """The part of an ONNX graph that one tensor needs, or a list of them: then it gives a list."""

    def __init__(self, path, end):
        import numpy
        import onnx
        import torch

        graph = onnx.load(path).graph
        weights = {item.name: torch.from_numpy(numpy.array(onnx.numpy_helper.to_array(item)))
                   for item in graph.initializer}
        producers = {name: node for node in graph.node for name in node.output}
        ends = [end] if isinstance(end, str) else list(end)
        for name in ends:
            if name not in producers:
                raise SystemExit(f"{path} has no tensor '{name}'")
        wanted, waiting = set(), list(ends)
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
            return values[end] if isinstance(end, str) else [values[name] for name in end]

        return run

    def images(self, batch, seed, dtype, device):
        """Normal numbers of the size of preprocessed pixels, as bench_forward takes them."""
        import torch

        shape = (batch, self.channels, self.height, self.width)
        images = 60 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return images.to(device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
