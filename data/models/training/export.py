"""Exports trained weights to ONNX in YOLOv8's layout, with the metadata that Ultralytics' exports carry.

input  images  float32 [batch, 3, 416, 416], RGB in [0, 1]
output output0 float32 [batch, 5, 3549]: centre x, centre y, width, height in input pixels, then the score of `person`
"""

import argparse
from pathlib import Path

import onnx
import torch
from net import Net

SIZE = 416
METADATA = {
    "description": "rva demo person detector",
    "author": "rva",
    "license": "Apache-2.0",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": f"[{SIZE}, {SIZE}]",
    "names": "{0: 'person'}",
}


def export(weights: Path, out: Path) -> None:
    """Writes `out` from the state dict in `weights` (as train.py saves it)."""
    net = Net()
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net.eval()
    batch = torch.export.Dim("batch", min=1, max=256)
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, SIZE, SIZE),),
        str(out),
        opset_version=18,
        dynamo=True,
        external_data=False,
        input_names=["images"],
        output_names=["output0"],
        dynamic_shapes=({0: batch},),
    )
    model = onnx.load(out)
    for key, value in METADATA.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="last.pt of train.py")
    parser.add_argument("--out", type=Path, required=True, help="the .onnx file to write")
    args = parser.parse_args()
    export(args.weights, args.out)


if __name__ == "__main__":
    main()
