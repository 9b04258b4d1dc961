"""TrackEval's scores, as JSON.

    python trackeval_reference.py ROOT

ROOT/BENCHMARK/gt/SEQUENCE/{gt/gt.txt,seqinfo.ini} and ROOT/BENCHMARK/trackers/NAME/data/SEQUENCE.txt. Prints
{BENCHMARK: {NAME: {SEQUENCE or COMBINED_SEQ: {METRIC: value}}}}; shares are in [0, 1].
"""

import configparser
import contextlib
import json
import os
import sys

import numpy as np

with contextlib.redirect_stdout(sys.stderr):
    import trackeval  # it tells of packages that it could use

HOTA = ["HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr"]
CLEAR = {
    "MOTA": "MOTA",
    "MOTP": "MOTP",
    "IDSW": "IDSW",
    "FP": "CLR_FP",
    "FN": "CLR_FN",
    "TP": "CLR_TP",
    "MT": "MT",
    "PT": "PT",
    "ML": "ML",
    "Frag": "Frag",
}
IDENTITY = ["IDF1", "IDP", "IDR"]


def scores(result):
    found = {name: float(np.mean(result["HOTA"][name])) for name in HOTA}
    found |= {name: float(result["CLEAR"][theirs]) for name, theirs in CLEAR.items()}
    return found | {name: float(result["Identity"][name]) for name in IDENTITY}


def length(folder):
    info = configparser.ConfigParser()
    info.read(os.path.join(folder, "seqinfo.ini"))
    return int(info["Sequence"]["seqLength"])


def evaluate(root, benchmark):
    truth, trackers = os.path.join(root, benchmark, "gt"), os.path.join(root, benchmark, "trackers")
    settings = trackeval.Evaluator.get_default_eval_config()
    settings |= {
        "PRINT_RESULTS": False,
        "PRINT_CONFIG": False,
        "TIME_PROGRESS": False,
        "OUTPUT_SUMMARY": False,
        "OUTPUT_DETAILED": False,
        "PLOT_CURVES": False,
        "OUTPUT_EMPTY_CLASSES": False,
        "DISPLAY_LESS_PROGRESS": True,
    }
    data = trackeval.datasets.MotChallenge2DBox.get_default_dataset_config()
    data |= {
        "GT_FOLDER": truth,
        "TRACKERS_FOLDER": trackers,
        "BENCHMARK": benchmark,
        "SKIP_SPLIT_FOL": True,
        "PRINT_CONFIG": False,
        "SEQ_INFO": {s: length(os.path.join(truth, s)) for s in sorted(os.listdir(truth))},
    }
    metrics = [
        trackeval.metrics.HOTA(),
        trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
        trackeval.metrics.Identity({"PRINT_CONFIG": False}),
    ]
    dataset = trackeval.datasets.MotChallenge2DBox(data)
    results, _ = trackeval.Evaluator(settings).evaluate([dataset], metrics)
    found = results["MotChallenge2DBox"]
    return {name: {seq: scores(result["pedestrian"]) for seq, result in of.items()} for name, of in found.items()}


root = sys.argv[1]
with contextlib.redirect_stdout(sys.stderr):
    answer = {benchmark: evaluate(root, benchmark) for benchmark in sorted(os.listdir(root))}
json.dump(answer, sys.stdout)
