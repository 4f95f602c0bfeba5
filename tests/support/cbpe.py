"""NannyML 0.13.1's estimates of a binary model, in numpy and scikit-learn: what ours must equal."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

SHARES = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def estimated(p, predicted, score):
    """Each figure of rows with calibrated probability, predicted class (1 is positive) and score."""
    hit, false = (p * predicted).sum(), ((1 - p) * predicted).sum()
    missed, rest = (p * (1 - predicted)).sum(), ((1 - p) * (1 - predicted)).sum()
    order = np.argsort(score)[::-1]
    found = np.cumsum(p[order])
    ranks = np.arange(1, len(p) + 1)
    recall, passed = np.r_[0, found / found[-1]], np.r_[0, (ranks - found) / (ranks - found)[-1]]
    return {
        "accuracy": (hit + rest) / len(p),
        "precision": hit / (hit + false),
        "recall": hit / (hit + missed),
        "f1": 2 * hit / (2 * hit + false + missed),
        "specificity": rest / (rest + false),
        "roc_auc": (np.diff(passed) * (recall[1:] + recall[:-1]) / 2.0).sum(),
        "average_precision": (np.diff(recall) * found / ranks).sum(),
        **dict(zip(SHARES, np.array([hit, false, missed, rest]) / len(p), strict=True)),
    }


def realized(truth, predicted, score):
    """Each figure of labeled rows."""
    cells = [(truth == t) & (predicted == p) for t, p in ((1, 1), (0, 1), (1, 0), (0, 0))]
    return {
        "accuracy": accuracy_score(truth, predicted),
        "precision": precision_score(truth, predicted, zero_division=0),
        "recall": recall_score(truth, predicted, zero_division=0),
        "f1": f1_score(truth, predicted, zero_division=0),
        "specificity": recall_score(1 - truth, 1 - predicted, zero_division=0),
        "roc_auc": roc_auc_score(truth, score),
        "average_precision": average_precision_score(truth, score),
        **{name: cell.mean() for name, cell in zip(SHARES, cells, strict=True)},
    }


def sampling(truth, predicted, score):
    """Deviation and share of each figure but the average precision, whose bootstrap there has no seed."""
    cells = [((truth == t) & (predicted == p)).astype(float) for t, p in ((1, 1), (0, 1), (1, 0), (0, 0))]
    right = (truth == predicted).astype(float)
    relevant = (truth == 1) | (predicted == 1)
    half = (right[relevant].sum() + relevant.sum()) / 2
    flipped = truth.mean() > 0.5
    order = np.argsort(1 - score if flipped else score)
    ranked = (1 - truth if flipped else truth)[order]
    ranks = np.unique(ranked * np.arange(len(ranked)))[1:]
    return {
        "accuracy": (right.std(), 1),
        "precision": (right[predicted == 1].std(), (predicted == 1).mean()),
        "recall": (right[truth == 1].std(), (truth == 1).mean()),
        "f1": ((right[relevant] * relevant.sum() / half).std(), relevant.mean()),
        "specificity": (right[truth == 0].std(), (truth == 0).mean()),
        "roc_auc": (((ranks - np.arange(len(ranks))) / (ranked == 0).sum()).std(), ranked.mean()),
        **{name: (cell.std(), 1) for name, cell in zip(SHARES, cells, strict=True)},
    }
