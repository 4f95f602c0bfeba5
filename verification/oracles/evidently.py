"""Evidently's drift figures of chunks of a table: its default test of each column, PSI, and Hellinger of categories."""

import warnings

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from protocol import answer

warnings.simplefilter("ignore")


def clean(column):
    return column.replace([-np.inf, np.inf], np.nan).dropna()


def figures(asked):
    reference, current = (pd.read_parquet(asked[side]) for side in ("reference", "current"))
    found = []
    for name in reference.columns:
        numeric = pd.api.types.is_numeric_dtype(reference[name])
        kind = ColumnType.Numerical if numeric else ColumnType.Categorical
        before = clean(reference[name])
        for number, (start, end) in enumerate(asked["chunks"]):
            now = clean(current[name].iloc[start:end])
            wanted = [None, "psi"] if numeric else [None, "psi", "hellinger"]
            for each in wanted:
                test = get_stattest(before, now, kind, each)
                result = test(before.copy(), now.copy(), kind, test.default_threshold)
                found.append(
                    {"column": name, "chunk": number, "method": test.name, "value": float(result.drift_score),
                     "drifted": bool(result.drifted), "inside": not numeric or bool(
                         now.min() >= before.min() and now.max() <= before.max()), "distinct": int(before.nunique())}
                )  # fmt: skip
    return found


if __name__ == "__main__":
    answer(figures, ["evidently", "numpy", "scipy", "pandas"])
