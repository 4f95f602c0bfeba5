"""NannyML's estimates of the multiclass model in its bundled data: every tenth, with bands and limits."""

import nannyml
import numpy as np
from protocol import answer

METRICS = ("accuracy", "precision", "recall", "f1", "specificity", "roc_auc", "average_precision")
PARTS = ("value", "lower_confidence_boundary", "upper_confidence_boundary", "lower_threshold", "upper_threshold")
CLASSES = ("highstreet_card", "prepaid_card", "upmarket_card")
SCORES = {name: f"y_pred_proba_{name}" for name in CLASSES}


def codes(column):
    return [CLASSES.index(name) for name in column]


def run(question):
    """Return reference and analysis rows (scores, prediction, label), and what NannyML says of each chunk.

    The scores are rounded to two decimals. With ``spread``, they are all different: NannyML's ROC AUC depends on the
    order of rows with equal scores.
    """
    reference, analysis, _ = nannyml.load_synthetic_multiclass_classification_dataset()
    if question["spread"]:
        random = np.random.default_rng(0)
        for frame in (reference, analysis):
            scores = frame[list(SCORES.values())].to_numpy()
            scores = np.clip(scores + random.uniform(0.0001, 0.005, scores.shape), 0.0, 1.0)
            frame[list(SCORES.values())] = scores / scores.sum(axis=1, keepdims=True)
    estimator = nannyml.CBPE(
        metrics=list(METRICS), y_pred_proba=SCORES, y_pred="y_pred", y_true="y_true",
        problem_type="classification_multiclass",
    )  # fmt: skip
    estimator.fit(reference)
    found = estimator.estimate(analysis).filter(period="analysis").to_df()
    return {
        "classes": CLASSES,
        "reference": [
            reference[list(SCORES.values())].to_numpy().tolist(),
            codes(reference["y_pred"]),
            codes(reference["y_true"]),
        ],
        "analysis": [analysis[list(SCORES.values())].to_numpy().tolist(), codes(analysis["y_pred"])],
        "chunks": {
            name: {part: found[name][part].to_numpy(np.float64).tolist() for part in PARTS} for name in METRICS
        },
    }  # fmt: skip


answer(run, ["nannyml", "numpy", "scikit-learn"])
