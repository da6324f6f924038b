"""Inception5h as lucid's users run it in PyTorch, at an eighth of its width: TensorFlow's asymmetric "SAME" padding
as Pad nodes, before max pools with -inf or with 0, LRN with TensorFlow's constants, 204 (here 25) channels in 4a's
3x3 branch, 1008 (here 126) classes. -> lucid.*.onnx, lucid.json, lucid/*.npy"""
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from . import common

CLASSES = 126
IMAGES = (2, 3, 96, 80)
GRID = (3, 3)  # of 5b: TensorFlow's padding halves 96 x 80 five times, rounding up
# 1x1, 3x3 bottleneck, 3x3, 5x5 bottleneck, 5x5, pool's 1x1; an eighth of the published widths, rounded down.
BLOCKS = {"3a": (8, 12, 16, 2, 4, 4), "3b": (16, 16, 24, 4, 12, 8), "4a": (24, 12, 25, 2, 6, 8),
          "4b": (20, 14, 28, 3, 8, 8), "4c": (16, 16, 32, 3, 8, 8), "4d": (14, 18, 36, 4, 8, 8),
          "4e": (32, 20, 40, 4, 16, 16), "5a": (32, 20, 40, 6, 16, 16), "5b": (48, 24, 48, 6, 16, 16)}
LRN = dict(size=9, alpha=9.99999974738e-05, beta=0.5, k=1.0)


class Block(nn.Module):
    def __init__(self, inputs, one, three_in, three, five_in, five, pooled, fill):
        super().__init__()
        self.one = nn.Conv2d(inputs, one, 1)
        self.three_in, self.three = nn.Conv2d(inputs, three_in, 1), nn.Conv2d(three_in, three, 3)
        self.five_in, self.five = nn.Conv2d(inputs, five_in, 1), nn.Conv2d(five_in, five, 5)
        self.pooled = nn.Conv2d(inputs, pooled, 1)
        self.fill = fill

    def forward(self, x):
        three = self.three(F.pad(F.relu(self.three_in(x)), (1, 1, 1, 1)))
        five = self.five(F.pad(F.relu(self.five_in(x)), (2, 2, 2, 2)))
        pooled = self.pooled(F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=self.fill), 3, 1))
        return torch.cat([F.relu(self.one(x)), F.relu(three), F.relu(five), F.relu(pooled)], 1)


class OnnxLrn(torch.autograd.Function):
    """Exported as the ONNX operator, as older exporters did; F.local_response_norm becomes a 3-D average pool."""

    @staticmethod
    def forward(ctx, x):
        return F.local_response_norm(x, **LRN)

    @staticmethod
    def symbolic(graph, x):
        return graph.op("LRN", x, size_i=LRN["size"], alpha_f=LRN["alpha"], beta_f=LRN["beta"], bias_f=LRN["k"])


class Inception5h(nn.Module):
    """fill: what pads max pools, -inf or 0 (the same here: all pooled numbers come out of a ReLU)."""

    def __init__(self, fill, lrn):
        super().__init__()
        self.fill, self.lrn = fill, lrn
        self.conv0, self.conv1, self.conv2 = nn.Conv2d(3, 8, 7, 2), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 24, 3)
        inputs = 24
        for layer, widths in BLOCKS.items():
            self.add_module(f"mixed{layer}", Block(inputs, *widths, fill))
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.softmax2_pre_activation = nn.Linear(inputs, CLASSES)

    def halve(self, x):
        """3x3 max pool, stride 2: TensorFlow pads one row below and one column right when the size is even."""
        below, right = (1 if size % 2 == 0 else 2 for size in (int(x.shape[2]), int(x.shape[3])))
        above, left = below // 2, right // 2
        return F.max_pool2d(F.pad(x, (left, right - left, above, below - above), value=self.fill), 3, 2)

    def forward(self, x):
        x = F.relu(self.conv0(F.pad(x, (2, 3, 2, 3))))
        x = self.lrn(self.halve(x))
        x = F.relu(self.conv1(x))
        x = self.lrn(F.relu(self.conv2(F.pad(x, (1, 1, 1, 1)))))
        x = self.mixed3b(self.mixed3a(self.halve(x)))
        x = self.mixed4e(self.mixed4d(self.mixed4c(self.mixed4b(self.mixed4a(self.halve(x))))))
        x = self.mixed5b(self.mixed5a(self.halve(x)))
        x = F.avg_pool2d(x, GRID).flatten(1)
        return F.softmax(self.softmax2_pre_activation(x), dim=1)


def build(fill, lrn):
    torch.manual_seed(common.seed_of("lucid"))
    model = Inception5h(fill, lrn)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(common.coarse(parameter.numpy())))
    return model.eval()


def export(model, batch, path, dynamo):
    options = {"input_names": ["input"], "output_names": ["softmax2"], "dynamo": dynamo, "verbose": False}
    if dynamo:
        options |= {"dynamic_shapes": {"x": {0: torch.export.Dim.DYNAMIC}}, "external_data": False}
    else:
        options |= {"dynamic_axes": {"input": {0: "batch"}}, "opset_version": 12}
    torch.onnx.export(model, (batch,), str(path), **options)
    return common.strip(path)


def written_by(model, op, last=True):
    names = [node.output[0] for node in model.graph.node if node.op_type == op]
    return names[-1 if last else 0]


def make(out):
    common.quiet()
    random = np.random.default_rng(common.seed_of("lucid images"))
    images = (random.integers(0, 256, size=IMAGES) - 117).astype(np.float32)
    batch = torch.from_numpy(images)
    infinite = float("-inf")

    def plain(x):
        return F.local_response_norm(x, **LRN)

    paths = [export(build(infinite, OnnxLrn.apply), batch, out / "lucid.lrn.onnx", dynamo=False),
             export(build(0.0, plain), batch, out / "lucid.pool3d.onnx", dynamo=False),
             export(build(infinite, plain), batch, out / "lucid.dynamo.onnx", dynamo=True)]

    exported = onnx.load(str(paths[0]))
    blocks = common.concat_outputs(exported)
    assert len(blocks) == 9, blocks
    taps = dict(zip([f"mixed{layer}" for layer in common.LAYERS], blocks))
    wanted = {name: taps[name] for name in ["mixed3b", "mixed4a", "mixed4d", "mixed5b"]} | {"softmax2": "softmax2"}
    values = common.run_onnxruntime(exported, {"input": images}, wanted.values())
    for path in paths:
        got = common.run_onnxruntime(path, {"input": images}, ["softmax2"])["softmax2"]
        assert common.relative_error(got, values["softmax2"]) < 1e-5, path

    folder = out / "lucid"
    folder.mkdir(exist_ok=True)
    models = [path.name for path in paths]
    paths += [common.save_array(folder / f"{name}.npy", values[tensor]) for name, tensor in wanted.items()]
    paths.append(common.save_array(folder / "input.npy", images))
    widths = {layer: [counts[i] for i in (0, 2, 4, 5)] for layer, counts in BLOCKS.items()}
    paths.append(common.save_manifest(out / "lucid.json", {
        "models": models,
        "input": "lucid/input.npy",
        "outputs": common.output_table("lucid", wanted),
        "blocks": common.branch_table(["1x1", "3x3", "5x5", "max 3x3 + 1x1"], widths),
    }))
    return paths
