"""torchvision's googlenet at an eighth of its width, through both of PyTorch's exporters.
-> torchvision.*.onnx, torchvision.json, torchvision/*.npy"""
import functools

import numpy as np
import onnx
import torch
from torch import nn
from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception, InceptionAux

from . import common

DIVISOR = 8
CLASSES = 125
IMAGES = (2, 3, 96, 80)
WIDTHS = {"3a": [64, 128, 32, 32], "3b": [128, 192, 96, 64], "4a": [192, 208, 48, 64], "4b": [160, 224, 64, 64],
          "4c": [128, 256, 64, 64], "4d": [112, 288, 64, 64], "4e": [256, 320, 128, 128],
          "5a": [256, 320, 128, 128], "5b": [384, 384, 128, 128]}


class NarrowConv(BasicConv2d):
    """The published model's constructor names full widths; each convolution divides them."""

    def __init__(self, in_channels, out_channels, **options):
        narrow_in = in_channels if in_channels == 3 else in_channels // DIVISOR
        super().__init__(narrow_in, out_channels // DIVISOR, **options)


def build():
    torch.manual_seed(common.seed_of("torchvision"))
    inception = functools.partial(Inception, conv_block=NarrowConv)
    model = GoogLeNet(num_classes=CLASSES, aux_logits=False, transform_input=True, init_weights=False,
                                blocks=[NarrowConv, inception, InceptionAux])
    model.fc = nn.Linear(1024 // DIVISOR, CLASSES)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.weight, 0.7, 1.4)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        for tensor in list(model.parameters()) + [b for b in model.buffers() if b.is_floating_point()]:
            tensor.copy_(torch.from_numpy(common.coarse(tensor.numpy())))
    return model.eval()


def export(model, images, path, dynamo, dynamic, fold):
    """dynamic: the axes that stay open; fold: batch normalisation folded by the exporter."""
    options = {"input_names": ["input"], "output_names": ["logits"], "dynamo": dynamo, "verbose": False}
    if dynamo:
        axes = {axis: torch.export.Dim.DYNAMIC for axis in dynamic}
        options |= {"dynamic_shapes": {"x": axes}, "external_data": False, "optimize": fold}
    else:
        names = {0: "batch", 2: "height", 3: "width"}
        mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
        options |= {"dynamic_axes": {"input": {axis: names[axis] for axis in dynamic}}, "training": mode,
                    "opset_version": 13 if fold else 17}
    torch.onnx.export(model, (images,), str(path), **options)
    return common.strip(path)


def make(out):
    common.quiet()
    model = build()
    random = np.random.default_rng(common.seed_of("torchvision images"))
    images = common.coarse(random.normal(size=IMAGES))
    batch = torch.from_numpy(images)
    variants = {
        "torchvision.bn": dict(dynamo=False, dynamic=[0, 2, 3], fold=False),
        "torchvision.fixed": dict(dynamo=False, dynamic=[], fold=True),
        "torchvision.dynamo": dict(dynamo=True, dynamic=[0, 2, 3], fold=True),
    }
    paths = [export(model, batch[:1] if not options["dynamic"] else batch, out / f"{name}.onnx", **options)
             for name, options in variants.items()]

    exported = onnx.load(str(paths[0]))
    blocks = common.concat_outputs(exported)
    assert len(blocks) == 9, blocks
    taps = dict(zip([f"mixed{layer}" for layer in common.LAYERS], blocks))
    wanted = {name: taps[name] for name in ["mixed3b", "mixed4a", "mixed4d", "mixed5b"]} | {"logits": "logits"}
    values = common.run_onnxruntime(exported, {"input": images}, wanted.values())
    for path, dynamic in zip(paths, [options["dynamic"] for options in variants.values()]):
        feed = images if dynamic else images[:1]
        got = common.run_onnxruntime(path, {"input": feed}, ["logits"])["logits"]
        assert common.relative_error(got, values["logits"][: len(got)]) < 1e-5, path

    folder = out / "torchvision"
    folder.mkdir(exist_ok=True)
    paths += [common.save_array(folder / f"{name}.npy", values[tensor]) for name, tensor in wanted.items()]
    paths.append(common.save_array(folder / "input.npy", images))
    widths = {layer: [count // DIVISOR for count in counts] for layer, counts in WIDTHS.items()}
    paths.append(common.save_manifest(out / "torchvision.json", {
        "models": [f"{name}.onnx" for name in variants],
        "input": "torchvision/input.npy",
        "outputs": common.output_table("torchvision", wanted),
        "blocks": common.branch_table(["1x1", "3x3", "3x3", "max 3x3 + 1x1"], widths),
    }))
    return paths
