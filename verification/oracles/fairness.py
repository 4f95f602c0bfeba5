"""The figures of fairlearn, AIF360 and SageMaker Clarify on the same rows, each by its own names."""

import numpy as np
import pandas as pd
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import ClassificationMetric
from fairlearn import metrics as fair
from protocol import answer
from smclarify.bias.report import FacetColumn, LabelColumn, StageType, bias_report

FAIRLEARN = (
    "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference", "equalized_odds_ratio",
    "equal_opportunity_difference", "equal_opportunity_ratio",
)  # fmt: skip
RATES = {
    "selection_rate": lambda y, p: fair.selection_rate(y, p),
    "true_positive_rate": lambda y, p: fair.true_positive_rate(y, p),
    "false_positive_rate": lambda y, p: fair.false_positive_rate(y, p),
    "false_negative_rate": lambda y, p: fair.false_negative_rate(y, p),
    "true_negative_rate": lambda y, p: fair.true_negative_rate(y, p),
    "precision": lambda y, p: p[p == 1].size and float((y[p == 1] == 1).mean()),
    "accuracy": lambda y, p: float((y == p).mean()),
}
AIF360 = (
    "statistical_parity_difference", "disparate_impact", "average_odds_difference", "equal_opportunity_difference",
    "generalized_entropy_index",
)  # fmt: skip
CLARIFY = ("DPPL", "DI", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD", "TE", "GE", "CDDPL")


def fairlearn(truth, said, group):
    found = {name: getattr(fair, name)(truth, said, sensitive_features=group) for name in FAIRLEARN}
    found["equalized_odds_mean_difference"] = fair.equalized_odds_difference(
        truth, said, sensitive_features=group, agg="mean"
    )
    frame = fair.MetricFrame(metrics=RATES, y_true=truth, y_pred=said, sensitive_features=group)
    for name in RATES:
        found[f"{name}|difference"] = frame.difference()[name]
        found[f"{name}|ratio"] = frame.ratio()[name]
    return {name: float(value) for name, value in found.items()}


def aif360(truth, said, group):
    frame = pd.DataFrame({"group": group.astype(float), "label": truth.astype(float)})
    rows = BinaryLabelDataset(df=frame, label_names=["label"], protected_attribute_names=["group"])
    predicted = rows.copy()
    predicted.labels = said.astype(float).reshape(-1, 1)
    metric = ClassificationMetric(rows, predicted, [{"group": 0.0}], [{"group": 1.0}])
    return {name: float(getattr(metric, name)()) for name in AIF360}


def clarify(truth, said, group, given):
    frame = pd.DataFrame({"group": group, "label": truth, "said": said})
    report = bias_report(
        frame,
        FacetColumn("group", sensitive_values=[0]),
        LabelColumn("label", frame["label"], [1]),
        StageType.POST_TRAINING,
        LabelColumn("said", frame["said"], [1]),
        metrics=list(CLARIFY),
        group_variable=pd.Series(given),
    )
    return {metric["name"]: float(metric["value"]) for metric in report[0]["metrics"] if metric["value"] is not None}


def asked(question):
    truth, said, group, given = (np.array(question[name]) for name in ("truth", "said", "group", "given"))
    two = group < 2
    return {
        "fairlearn": fairlearn(truth, said, group),
        "aif360": aif360(truth[two], said[two], group[two]),
        "clarify": clarify(truth[two], said[two], group[two], given[two]),
    }


answer(asked, ("fairlearn", "aif360", "smclarify"))
