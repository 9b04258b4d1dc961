"""Writes the small models of this folder: `python make.py` (needs the package onnx; the files are checked in).

Every one of them is a toy with the outside of a real export. `plain` and its siblings see something: each 32 x 32
block of the input is an anchor, its box is 64 x 64 around (64, 64), and its two scores are the block's mean red and
its mean green. The others only have shapes.
"""

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

HERE = Path(__file__).parent
NAMES = "{0: 'red', 1: \"green's\"}"
DETECT = {"names": NAMES, "stride": "32", "task": "detect"}
F32, F16, U8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def write(name, nodes, inputs, outputs, weights, metadata):
    values = lambda tensors: [helper.make_tensor_value_info(*tensor) for tensor in tensors]
    graph = helper.make_graph(nodes, "toy", values(inputs), values(outputs), weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="rva")
    helper.set_model_props(model, metadata)
    checker.check_model(model)
    save(model, HERE / f"{name}.onnx")


def seeing(name, dims, metadata=DETECT, type_in=F32, type_out=F32, batch_out=None, anchors=None):
    """A model that sees: pooled colours, a 1 x 1 convolution to [cx, cy, w, h, red, green], anchors flattened."""
    element = np.float16 if type_in == F16 else np.float32
    weight = np.zeros((6, 3, 1, 1), element)
    weight[4, 0] = weight[5, 1] = 1
    bias = np.array([64, 64, 64, 64, 0, 0], element)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Conv", ["pooled", "weight", "bias"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "flat"], ["flattened"]),
        helper.make_node("Cast", ["flattened"], ["output0"], to=type_out),
    ]
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([0, 6, -1], np.int64), "flat"),
    ]
    inputs = [("images", type_in, dims)]
    outputs = [("output0", type_out, [dims[0], 6, anchors or "anchors"])]
    write(name, nodes, inputs, outputs, weights, metadata)


def finishing(name, dims, type_out=F32, metadata=DETECT):
    """A model that suppresses by itself: `plain`'s pooled red and green of the whole picture are the scores of two rows.

    The rows are [16, 32, 80, 96, red, 0] and [64, 0, 128, 64, green, 1], and a third one that isn't used.
    """
    weight = np.zeros((18, 3, 1, 1), np.float32)
    weight[4, 0] = weight[10, 1] = 1
    bias = np.array([16, 32, 80, 96, 0, 0, 64, 0, 128, 64, 0, 1] + [0] * 6, np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "weight", "bias"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "rows"], ["shaped"]),
        helper.make_node("Cast", ["shaped"], ["output0"], to=type_out),
    ]
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([-1, 3, 6], np.int64), "rows"),
    ]
    outputs = [("output0", type_out, [dims[0], 3, 6] if isinstance(dims[0], int) else ["batch", "rows", 6])]
    write(name, nodes, [("images", F32, dims)], outputs, weights, metadata)


def ranking(name, dims, sizes=("batch", 2), metadata=DETECT):
    """The outside of RT-DETR's and D-FINE's own exports: labels, boxes and scores, boxes scaled to the sizes asked for.

    Two detections: class 1 with the mean green as its score, at a quarter to three quarters across and the upper half;
    class 0 with the mean red, the left half.
    """
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[0, 1] = weight[1, 0] = 1
    boxes = np.array([[[0.25, 0, 0.75, 0.5], [0, 0, 0.5, 1]]], np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "weight"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "flat"], ["scores"]),
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=F32),
        helper.make_node("Concat", ["sizes", "sizes"], ["corners"], axis=1),
        helper.make_node("Unsqueeze", ["corners", "one"], ["scales"]),
        helper.make_node("Mul", ["unit", "scales"], ["boxes"]),
        helper.make_node("Shape", ["scores"], ["shape"]),
        helper.make_node("Expand", ["classes", "shape"], ["labels"]),
    ]
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([-1, 2], np.int64), "flat"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(boxes, "unit"),
        numpy_helper.from_array(np.array([[1, 0]], np.int64), "classes"),
    ]
    batch = dims[0]
    outputs = [
        ("labels", TensorProto.INT64, [batch, 2]),
        ("boxes", F32, [batch, 2, 4]),
        ("scores", F32, [batch, 2]),
    ]
    inputs = [("images", F32, dims), ("orig_target_sizes", TensorProto.INT64, list(sizes))]
    write(name, nodes, inputs, outputs, weights, metadata)


def asking(name, dims, columns, answers, metadata, names=("dets", "labels"), more=(), type_out=F32):
    """The outside of RF-DETR's own export: the raw answers of two queries, boxes as parts of the input and logits.

    The net gives back what it was given: a logit is the mean of one channel of the whole input (0 red, 1 green, 2
    blue), by `answers`, (query, column): channel, or 9 where that is None; every other logit is -9. The boxes are the
    middle half across of the upper half, and the left half.
    """
    weight, bias = np.zeros((2 * columns, 3, 1, 1), np.float32), np.full(2 * columns, -9, np.float32)
    for (query, column), channel in answers.items():
        at = query * columns + column
        bias[at] = 9 if channel is None else 0
        if channel is not None:
            weight[at, channel] = 1
    boxes = np.array([[[0.5, 0.25, 0.5, 0.5], [0.25, 0.5, 0.5, 1]]], np.float32)
    boxes_name, logits_name = sorted(names, key=lambda name: name not in ("dets", "pred_boxes"))
    input_name = "input" if "dets" in names else "pixel_values"
    nodes = [
        helper.make_node("GlobalAveragePool", [input_name], ["pooled"]),
        helper.make_node("Conv", ["pooled", "weight", "bias"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "queries"], ["answers"]),
        helper.make_node("Cast", ["answers"], [logits_name], to=type_out),
        helper.make_node("Shape", ["answers"], ["all"]),
        helper.make_node("Slice", ["all", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
        helper.make_node("Expand", ["places", "shape"], ["placed"]),
        helper.make_node("Cast", ["placed"], [boxes_name], to=type_out),
    ]
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([-1, 2, columns], np.int64), "queries"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([2, 4], np.int64), "rest"),
        numpy_helper.from_array(boxes, "places"),
    ]
    widths = {boxes_name: 4, logits_name: columns}
    outputs = [(name, type_out, [dims[0], 2, widths[name]]) for name in names]
    for other in more:
        nodes.append(helper.make_node("ConstantOfShape", ["all"], [other]))
        outputs.append((other, F32, [dims[0], 2, columns]))
    write(name, nodes, [(input_name, F32, dims)], outputs, weights, metadata)


def shaped(name, outputs, metadata, dims=(1, 3, 64, 64), type_in=F32):
    """A model of a given outside: every output is a constant."""
    # Made in the graph, so that the file stays small.
    nodes = []
    weights = []
    for i, shape in enumerate(outputs):
        weights.append(numpy_helper.from_array(np.array(shape, np.int64), f"shape{i}"))
        nodes.append(helper.make_node("ConstantOfShape", [f"shape{i}"], [f"output{i}"]))
    tensors = [(f"output{i}", F32, list(shape)) for i, shape in enumerate(outputs)]
    write(name, nodes, [("images", type_in, list(dims))], tensors, weights, metadata)


seeing("plain", [1, 3, 128, 128], {**DETECT, "imgsz": "[128, 128]"}, anchors=16)
seeing("symbolic", ["batch", 3, "height", "width"], {**DETECT, "imgsz": "[96, 128]"})
seeing("batch-of-2", [2, 3, 128, 128], anchors=16)
seeing("half", ["batch", 3, 128, 128], type_in=F16, type_out=F16)
seeing("half-input", ["batch", 3, 128, 128], type_in=F16, type_out=F32)
seeing("no-names", [1, 3, 128, 128], {"task": "detect", "stride": "32"})
seeing("bad-names", [1, 3, 128, 128], {**DETECT, "names": "{0: 'red', 1: green}"})
seeing("other-count", [1, 3, 128, 128], {**DETECT, "names": "{0: 'a', 1: 'b', 2: 'c'}"})
shaped("segment", [(1, 38, 84), (1, 32, 16, 16)], {**DETECT, "task": "segment"})
shaped("segment-unsaid", [(1, 38, 84), (1, 32, 16, 16)], {"names": NAMES})
shaped("classify", [(1, 2)], {**DETECT, "task": "classify"})
shaped("classify-unsaid", [(1, 2)], {"names": NAMES})
shaped("pose", [(1, 56, 84)], {"names": "{0: 'person'}", "task": "pose", "kpt_shape": "[17, 3]"})
shaped("yolov5", [(1, 252, 7)], {"names": NAMES, "stride": "32"})
shaped("turned", [(1, 84, 7)], {"names": "['a', 'b', 'c']", "stride": "32"})
finishing("end-to-end", [1, 3, 128, 128])
finishing("end-to-end-symbolic", ["batch", 3, 128, 128], type_out=F16)
ranking("ranked", ["batch", 3, 128, 64])
ranking("ranked-of-1", [1, 3, 128, 64], sizes=(1, 2))
ranking("ranked-no-names", [1, 3, 128, 64], sizes=(1, 2), metadata={})
shaped("yolov5-of-one", [(1, 25200, 6)], {"names": "{0: 'person'}", "stride": "32"})
shaped("grey-input", [(1, 6, 84)], DETECT, dims=(1, 1, 64, 64))
shaped("byte-input", [(1, 6, 84)], DETECT, type_in=U8)
COCO = {(0, 1): 0, (0, 0): None, (0, 17): 1, (1, 90): 2, (1, 12): None}
asking("queries-coco", [1, 3, 96, 64], 91, COCO, {})
OWN = {(0, 0): 0, (1, 1): 1, (1, 2): 2, (0, 3): None}
OWN_NAMES = {"names": "{0: 'person', 1: 'cart', 2: 'basket'}"}
asking("queries-own", [1, 3, 96, 64], 4, OWN, OWN_NAMES, names=("labels", "dets"), type_out=F16)
NOTES = {
    "schema_version": 1,
    "format": "onnx",
    "task": "detect",
    "means": [0.5, 0.25, 0],
    "stds": [0.5, 0.25, 2],
    "class_names": ["person", "cart", "basket"],
    "class_id_to_name": {0: "person", 1: "cart", 2: "basket"},
}
asking("queries-noted", ["batch", 3, 96, 64], 4, OWN, {"rfdetr_inference": json.dumps(NOTES)})
TRANSFORMERS = ("logits", "pred_boxes")
PLAIN = {"mean": "[0, 0, 0]", "std": "[1, 1, 1]"}
asking(
    "queries-transformers", ["batch", 3, 96, 64], 3, {(0, 0): 0, (1, 1): 1, (1, 2): 2}, OWN_NAMES | PLAIN, TRANSFORMERS
)
asking("queries-colours-unsaid", ["batch", 3, 96, 64], 3, {(0, 0): 0}, OWN_NAMES, TRANSFORMERS)
asking("queries-no-names", [1, 3, 96, 64], 4, OWN, {})
asking("queries-masks", [1, 3, 96, 64], 91, {}, {}, more=("masks",))
