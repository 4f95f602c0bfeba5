"""NannyML's estimates of the binary models in its bundled data: every tenth, with bands and limits."""

from importlib.resources import files

import nannyml
import numpy as np
import pandas as pd
from protocol import answer

COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")
METRICS = ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc", "average_precision", "confusion_matrix")
PARTS = ("value", "lower_confidence_boundary", "upper_confidence_boundary", "lower_threshold", "upper_threshold")


def table(name):
    place = files("nannyml.datasets.data").joinpath(name)
    return pd.read_parquet(place) if name.endswith(".pq") else pd.read_csv(place)


def rows(frame, names):
    return [frame[name].to_numpy(np.float64).tolist() for name in names if name in frame]


def run(question):
    """Return reference and analysis rows (score, prediction, label), and what NannyML says of each chunk.

    Also of each chunk of a segment, which has one row in ``every``.
    """
    score, prediction, label = names = question["columns"]
    reference, analysis = table(question["reference"]), table(question["analysis"])
    estimator = nannyml.CBPE(
        metrics=list(METRICS), y_pred_proba=score, y_pred=prediction, y_true=label,
        problem_type="classification_binary", normalize_confusion_matrix="all",
    )  # fmt: skip
    estimator.fit(reference)
    segment = analysis.iloc[:: question["every"]].reset_index(drop=True)
    return {
        "reference": rows(reference, names),
        "analysis": rows(analysis, names[:2]),
        "chunks": chunks(estimator, analysis),
        "segment": chunks(estimator, segment),
    }


def chunks(estimator, frame):
    found = estimator.estimate(frame).filter(period="analysis").to_df()
    return {
        name: {part: found[name][part].to_numpy(np.float64).tolist() for part in PARTS}
        for name in (*METRICS[:-1], *COUNTS)
    }


answer(run, ["nannyml", "numpy", "scikit-learn"])
