"""pycocotools' scores of boxes, as JSON.

    python pycocotools_reference.py GROUND_TRUTH.json RESULTS.json

Prints its twelve figures under our names; null where it says -1 (no such truth).
"""

import contextlib
import json
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", None, None, "ar"]

with contextlib.redirect_stdout(sys.stderr):
    truth = COCO(sys.argv[1])
    evaluation = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
stats = [None if value < 0 else float(value) for value in evaluation.stats]
json.dump({name: value for name, value in zip(NAMES, stats) if name}, sys.stdout)
