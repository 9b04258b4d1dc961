"""Appearance vectors of crops by Python's ONNX Runtime: `embed_reference.py MODEL PICTURE BOXES` (JSON list of xyxy).

Written from the description of the models (crop, scale each side by itself, RGB, ImageNet's mean and deviation), one
crop a run. Prints a JSON list of rows of length 1.
"""

import json
import math
import sys

import cv2
import numpy as np
import onnxruntime

model, picture, boxes = sys.argv[1], cv2.imread(sys.argv[2]), json.loads(sys.argv[3])
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
height, width = entry.shape[2:]
rows = []
for x1, y1, x2, y2 in boxes:
    top, bottom = max(0, math.floor(y1)), min(picture.shape[0], math.ceil(y2))
    left, right = max(0, math.floor(x1)), min(picture.shape[1], math.ceil(x2))
    crop = cv2.resize(picture[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = crop[:, :, ::-1].astype(np.float32) / 255.0
    normal = (rgb - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
    row = session.run(None, {entry.name: normal.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    rows.append((row / np.linalg.norm(row)).tolist())
print(json.dumps(rows))
