"""BVLC GoogLeNet as the ONNX model zoo has it, at an eighth of its width: pools padded at one end instead of
ceil_mode, Dropout with a mask, Reshape before Gemm, weights listed as graph inputs; weights stored in four ways.
-> zoo.*.onnx, zoo.json, zoo/*.npy"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import common

CLASSES = 125
IMAGES = (2, 3, 96, 80)
# 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj: an eighth of the published widths.
BLOCKS = {"3a": (8, 12, 16, 2, 4, 4), "3b": (16, 16, 24, 4, 12, 8), "4a": (24, 12, 26, 2, 6, 8),
          "4b": (20, 14, 28, 3, 8, 8), "4c": (16, 16, 32, 3, 8, 8), "4d": (14, 18, 36, 4, 8, 8),
          "4e": (32, 20, 40, 4, 16, 16), "5a": (32, 20, 40, 4, 16, 16), "5b": (48, 24, 48, 6, 16, 16)}


class Builder:
    def __init__(self, opset):
        self.opset = opset
        self.random = np.random.default_rng(common.seed_of("zoo"))
        self.nodes, self.weights, self.at, self.size = [], {}, "data_0", [3, *IMAGES[2:]]

    def node(self, op, inputs, output, extra=(), **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output, *extra], name=output, **attributes))
        return output

    def weight(self, name, values):
        self.weights[name] = common.coarse(values)
        return name

    def conv(self, name, outputs, kernel, stride=1, pad=0, src=None):
        """Convolution and ReLU in place: Caffe's names with _1 and _2, as the converter wrote them."""
        src, channels = src or (self.at, self.size[0])
        fan_in = channels * kernel * kernel
        deviation = np.sqrt(2 / fan_in) * (0.02 if src == "data_0" else 1)
        weight = self.weight(name + "_w_0", self.random.normal(size=(outputs, channels, kernel, kernel)) * deviation)
        bias = self.weight(name + "_b_0", self.random.normal(size=outputs) * 0.2)
        self.node("Conv", [src, weight, bias], name + "_1", kernel_shape=[kernel] * 2, strides=[stride] * 2,
                  pads=[pad] * 4)
        return self.node("Relu", [name + "_1"], name + "_2"), outputs

    def step(self, result):
        self.at, self.size[0] = result

    def halve(self, name):
        """3x3 max pool of stride 2, rounded up by padding the far ends."""
        ends = [1 if size % 2 == 0 else 0 for size in self.size[1:]]
        self.at = self.node("MaxPool", [self.at], name + "_1", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, *ends])
        self.size[1:] = [(size + end - 3) // 2 + 1 for size, end in zip(self.size[1:], ends)]

    def lrn(self, name):
        self.at = self.node("LRN", [self.at], name + "_1", alpha=1e-4, beta=0.75, bias=1.0, size=5)

    def block(self, layer, one, three_in, three, five_in, five, pooled):
        name, src = f"inception_{layer}/", (self.at, self.size[0])
        pool = self.node("MaxPool", [self.at], name + "pool_1", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        paths = [self.conv(name + "1x1", one, 1, src=src)]
        paths.append(self.conv(name + "3x3", three, 3, pad=1, src=self.conv(name + "3x3_reduce", three_in, 1, src=src)))
        paths.append(self.conv(name + "5x5", five, 5, pad=2, src=self.conv(name + "5x5_reduce", five_in, 1, src=src)))
        paths.append(self.conv(name + "pool_proj", pooled, 1, src=(pool, self.size[0])))
        self.step((self.node("Concat", [path for path, _ in paths], name + "output_1", axis=1),
                   sum(channels for _, channels in paths)))

    def head(self, reshape):
        self.at = self.node("AveragePool", [self.at], "pool5/7x7_s1_1", kernel_shape=self.size[1:], strides=[1, 1])
        if self.opset < 7:
            self.at = self.node("Dropout", [self.at], "pool5/7x7_s1_2", ["_pool5/mask"], is_test=1, ratio=0.4)
        elif self.opset < 12:
            self.at = self.node("Dropout", [self.at], "pool5/7x7_s1_2", ["_pool5/mask"], ratio=0.4)
        else:
            self.at = self.node("Dropout", [self.at, "ratio"], "pool5/7x7_s1_2", ["_pool5/mask"])
        self.at = self.node("Reshape", [self.at, "OC2_DUMMY_1"], "OC2_DUMMY_0")
        self.reshape = np.array(reshape, dtype=np.int64)
        weight = self.weight("loss3/classifier_w_0",
                             self.random.normal(size=(CLASSES, self.size[0])) / np.sqrt(self.size[0]))
        bias = self.weight("loss3/classifier_b_0", self.random.normal(size=CLASSES) * 0.2)
        old = {"broadcast": 1} if self.opset < 7 else {}
        self.node("Gemm", [self.at, weight, bias], "loss3/classifier_1", transB=1, **old)
        self.node("Softmax", ["loss3/classifier_1"], "prob_1")

    def network(self, reshape):
        self.step(self.conv("conv1/7x7_s2", 8, 7, 2, 3))
        self.size[1:] = [(size + 1) // 2 for size in self.size[1:]]
        self.halve("pool1/3x3_s2")
        self.lrn("pool1/norm1")
        self.step(self.conv("conv2/3x3_reduce", 8, 1))
        self.step(self.conv("conv2/3x3", 24, 3, pad=1))
        self.lrn("conv2/norm2")
        self.halve("pool2/3x3_s2")
        for layer, widths in BLOCKS.items():
            self.block(layer, *widths)
            if layer in ("3b", "4e"):
                self.halve(f"pool{layer[0]}/3x3_s2")
        self.head(reshape)
        return self

    def shape_tensor(self):
        return helper.make_tensor("OC2_DUMMY_1", TensorProto.INT64, self.reshape.shape, self.reshape)

    def model(self, initializers, as_inputs, batch, ir_version):
        inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [batch, *IMAGES[1:]])]
        if as_inputs:
            inputs += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                       for tensor in initializers]
        outputs = [helper.make_tensor_value_info("prob_1", TensorProto.FLOAT, [batch, CLASSES])]
        graph = helper.make_graph(self.nodes, "bvlc_googlenet", inputs, outputs, initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=ir_version,
                                 producer_name="onnx-caffe2")


def float_data(build):
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.ravel())
               for name, values in build.weights.items()]
    return tensors + [build.shape_tensor()]


def raw_data(build):
    tensors = [numpy_helper.from_array(values, name) for name, values in build.weights.items()]
    if build.opset >= 12:
        tensors.append(numpy_helper.from_array(np.array(0.4, dtype=np.float32), "ratio"))
    return tensors + [build.shape_tensor()]


def mixed_precision(build):
    """float16 weights (exact: nine significant bits) and double biases, cast where they are used."""
    tensors, casts = [], []
    for tensor in raw_data(build):
        if tensor.name in build.weights:
            values = build.weights[tensor.name]
            stored = values.astype(np.float16 if values.ndim > 1 else np.float64)
            assert np.abs(stored.astype(np.float32) - values).max() < 1e-7, tensor.name
            tensor = numpy_helper.from_array(stored, tensor.name + "/stored")
            casts.append(helper.make_node("Cast", [tensor.name], [tensor.name[:-len("/stored")]], to=TensorProto.FLOAT))
        tensors.append(tensor)
    build.nodes = casts + build.nodes
    return tensors


def make(out):
    random = np.random.default_rng(common.seed_of("zoo images"))
    means = np.array([104, 117, 123]).reshape(1, 3, 1, 1)
    images = (random.integers(0, 256, size=IMAGES) - means).astype(np.float32)
    flat = sum(BLOCKS["5b"][i] for i in (0, 2, 4, 5))

    old = Builder(6).network([1, flat])
    middle = Builder(8).network([1, flat])
    half = Builder(12).network([0, -1])
    external = Builder(12).network([-1, flat])
    models = {
        "zoo.opset6.onnx": old.model(float_data(old), True, 1, 3),
        "zoo.half.onnx": half.model(mixed_precision(half), False, "N", 7),
        "zoo.external.onnx": external.model(raw_data(external), True, "N", 7),
    }
    # ONNX Runtime starts at opset 7, so the expected values come from the same network in opset 8.
    answer = middle.model(raw_data(middle), True, 1, 3)
    for model in [answer, *models.values()]:
        onnx.checker.check_model(model)

    paths = []
    for name, model in models.items():
        if name == "zoo.external.onnx":
            (out / "zoo.external.bin").unlink(missing_ok=True)
            onnx.save(model, str(out / name), save_as_external_data=True, location="zoo.external.bin",
                      size_threshold=256)
            paths.append(out / "zoo.external.bin")
        else:
            (out / name).write_bytes(model.SerializeToString(deterministic=True))
        paths.append(out / name)

    tensors = {name: f"inception_{name[5:]}/output_1" for name in ["mixed3b", "mixed4a", "mixed4d", "mixed5b"]}
    tensors |= {"logits": "loss3/classifier_1", "prob": "prob_1"}
    each = [common.run_onnxruntime(answer, {"data_0": image[None]}, tensors.values()) for image in images]
    values = {name: np.concatenate([value[name] for value in each]) for name in tensors.values()}
    for name in ["zoo.half.onnx", "zoo.external.onnx"]:
        got = common.run_onnxruntime(out / name, {"data_0": images}, ["loss3/classifier_1"])["loss3/classifier_1"]
        assert common.relative_error(got, values["loss3/classifier_1"]) < 1e-5, name

    folder = out / "zoo"
    folder.mkdir(exist_ok=True)
    paths += [common.save_array(folder / f"{name}.npy", values[tensor]) for name, tensor in tensors.items()]
    paths.append(common.save_array(folder / "input.npy", images))
    widths = {layer: [counts[i] for i in (0, 2, 4, 5)] for layer, counts in BLOCKS.items()}
    paths.append(common.save_manifest(out / "zoo.json", {
        "models": list(models),
        "input": "zoo/input.npy",
        "outputs": common.output_table("zoo", tensors),
        "blocks": common.branch_table(["1x1", "3x3", "5x5", "max 3x3 + 1x1"], widths),
    }))
    return paths
