"""Single operators with ONNX Runtime's answers: sliding windows with every kind of padding and rounding, LRN,
softmax. -> ops.json"""
import json

import numpy as np
from onnx import TensorProto, helper

from . import common

OPSET = 19  # the first in which pooling's rounding up agrees with PyTorch's


def run(op, inputs, **attributes):
    names = [f"x{i}" for i in range(len(inputs))]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph(
        [node], op, [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                     for name, value in zip(names, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return common.run_onnxruntime(model, dict(zip(names, inputs)), ["y"])["y"]


def image(random, channels, height, width):
    """Multiples of 1/8: short in the file, and sums of them are exact."""
    return (random.integers(-16, 17, size=(1, channels, height, width)) / 8).astype(np.float32)


def window(random, pool, dilated):
    """Random attributes of a sliding window."""
    kernel = random.integers(1, 5, size=2)
    attributes = {"kernel_shape": kernel.tolist(), "strides": random.integers(1, 4, size=2).tolist()}
    if dilated:
        attributes["dilations"] = random.integers(1, 3, size=2).tolist()
    padding = random.integers(4)
    if padding == 0:
        attributes["auto_pad"] = ["SAME_UPPER", "SAME_LOWER"][random.integers(2)]
    elif padding > 1:
        most = kernel if pool else np.array([3, 3])
        attributes["pads"] = [int(random.integers(0, limit)) for limit in [*most, *most]]
    return attributes


def window_case(random, op):
    size = [int(extent) for extent in random.integers(4, 12, size=2)]
    attributes = window(random, op != "Conv", dilated=random.integers(3) == 0)
    if "auto_pad" in attributes:
        # ONNX Runtime leaves the specification where the stride exceeds the kernel (negative padding) and where a
        # pool is dilated (padding as if it were not).
        strided_over = any(np.greater(attributes["strides"], attributes["kernel_shape"]))
        if strided_over or (op != "Conv" and "dilations" in attributes):
            return None
    if op == "Conv":
        group = int(random.integers(1, 3))
        weight = image(random, 4 * group, *attributes["kernel_shape"])
        inputs = [image(random, 2 * group, *size), weight.reshape(2 * group, 2, *attributes["kernel_shape"])]
        inputs.append(image(random, 2 * group, 1, 1).ravel())
        attributes["group"] = group
    else:
        inputs = [image(random, 1, *size)]
        attributes["ceil_mode"] = int(random.integers(2))
        if op == "AveragePool":
            attributes["count_include_pad"] = int(random.integers(2))
    return inputs, attributes


def fits(inputs, attributes):
    """Whether the window fits into the padded image. Where it does not, ONNX Runtime rounds a negative number of
    steps towards zero and computes one position, against the specification (which rounds down, to none)."""
    pads = attributes.get("pads", [0, 0, 0, 0])
    for axis in range(2):
        reach = (attributes["kernel_shape"][axis] - 1) * attributes.get("dilations", [1, 1])[axis] + 1
        room = inputs[0].shape[2 + axis] + pads[axis] + pads[axis + 2] - reach
        if room < 0 and not attributes.get("ceil_mode") and "auto_pad" not in attributes:
            return False
    return True


def describe(op, inputs, attributes, output):
    return {
        "op": op,
        "attributes": attributes,
        "inputs": [{"shape": list(value.shape), "data": value.ravel().tolist()} for value in inputs],
        "output": {"shape": list(output.shape), "data": [float(f"{number:.9g}") for number in output.ravel()]},
    }


def make(out):
    cases = []
    for op in ["Conv", "MaxPool", "AveragePool"]:
        random = np.random.default_rng(common.seed_of(op))
        for _ in range(80):
            drawn = window_case(random, op)
            if drawn is None or not fits(*drawn):
                continue
            inputs, attributes = drawn
            try:
                output = run(op, inputs, **attributes)
            except Exception:  # the window does not fit this image
                continue
            # A position over padding alone has no value in either; ours refuses it.
            if output.size and np.isfinite(output).all() and np.abs(output).max() < 1e6:
                cases.append(describe(op, inputs, attributes, output))
    random = np.random.default_rng(common.seed_of("channels"))
    for size in range(1, 10, 2):  # ONNX Runtime takes odd sizes only
        for constants in [(0.5, 0.75, 1.0), (2.0, 0.5, 2.0)]:
            attributes = dict(zip(["alpha", "beta", "bias"], constants), size=size)
            inputs = [image(random, 5, 2, 2)]
            cases.append(describe("LRN", inputs, attributes, run("LRN", inputs, **attributes)))
    for shape in [(3, 5), (2, 7, 1, 1)]:
        inputs = [(random.integers(-40, 41, size=shape) / 4).astype(np.float32)]
        cases.append(describe("Softmax", inputs, {"axis": 1}, run("Softmax", inputs, axis=1)))
    path = out / "ops.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
    return [path]
