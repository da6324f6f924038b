"""The network for other runtimes: the part of the ONNX file that leads to one tensor, and the same as a PyTorch
module."""
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "baselines"))


def part_of_model(path, end):
    """The file's graph cut behind the tensor `end`, as bytes: nothing that it does not need is left to be run."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.load(path)
    weights = {item.name for item in model.graph.initializer}
    inputs = [item.name for item in model.graph.input if item.name not in weights]
    return Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(inputs, [end]).SerializeToString()


def logits(path):
    """The tensor that the network's last softmax reads, else its first output."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    name = graph.output[0].name
    last = next((node for node in graph.node if name in node.output), None)
    return last.input[0] if last is not None and last.op_type == "Softmax" else name


def module_of(path, end):
    """torch.nn.Module of that part, weights channels last."""
    import torch
    from onnx_network import Network

    network = Network(path, end)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.function = network.to(torch.float32, "cpu")

        def forward(self, x):
            return self.function(x)

    return Module().eval()


def frozen(module, images):
    """Traced, weights folded in."""
    import torch

    return torch.jit.freeze(torch.jit.trace(module, images))


def compiled(module, images):
    """torch.compile with frozen weights, which lets it fuse and lay them out; C++ is compiled, which takes a while."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    function = torch.compile(module, dynamic=False)
    function(images)
    return function


WAYS = {"frozen": frozen, "compiled": compiled}
