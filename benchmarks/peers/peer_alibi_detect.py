"""Alibi Detect: TabularDrift, which is the KS test of every number and χ² of every category.

It takes one matrix. Texts become the numbers of the reference's categories, which is far faster than a matrix of
Python objects; that is part of fit and of score.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from alibi_detect.cd import TabularDrift
from protocol import Case, main


def fit(reference, numeric, categorical):
    kinds = {name: pd.CategoricalDtype(reference[name].unique()) for name in categorical}
    names = [*numeric, *categorical]
    places = {names.index(name): len(kind.categories) for name, kind in kinds.items()}
    return TabularDrift(matrix(reference, names, kinds), p_val=0.05, categories_per_feature=places), names, kinds


def score(fitted, current):
    detector, names, kinds = fitted
    return names, kinds, detector.predict(matrix(current, names, kinds), drift_type="feature")["data"]


def matrix(rows, names, kinds):
    columns = [rows[name].astype(kinds[name]).cat.codes if name in kinds else rows[name] for name in names]
    return np.column_stack([column.to_numpy(np.float64) for column in columns])


def read(result):
    names, kinds, found = result
    scores = {"ks": {}, "ks_p": {}, "chi2": {}, "chi2_p": {}}
    for name, distance, p_value in zip(names, found["distance"], found["p_val"]):  # noqa: B905 - also Python 3.9
        method = "chi2" if name in kinds else "ks"
        scores[method][name], scores[f"{method}_p"][name] = distance, p_value
    return scores


if __name__ == "__main__":
    main([Case("ks+chi2", fit, score, read)], ["alibi-detect", "scipy", "numpy", "pandas"])
