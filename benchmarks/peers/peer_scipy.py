"""scipy in a loop: the two-sample KS test of every number, Pearson's χ² of every text column."""

from __future__ import annotations

import numpy as np
import pandas as pd
from protocol import Case, main
from scipy import stats


def fit(reference, numeric, categorical):
    """Nothing can be prepared but the counts of texts."""
    return (
        {name: reference[name].to_numpy() for name in numeric},
        {name: reference[name].value_counts() for name in categorical},
    )


def score(fitted, current):
    numbers, counts = fitted
    found = {name: stats.ks_2samp(values, current[name].to_numpy()) for name, values in numbers.items()}
    for name, before in counts.items():
        table = pd.concat([before, current[name].value_counts()], axis=1).fillna(0.0).to_numpy()
        found[name] = stats.chi2_contingency(table.T, correction=False)
    return numbers, found


def read(result):
    numbers, found = result
    scores = {"ks": {}, "ks_p": {}, "chi2": {}, "chi2_p": {}}
    for name, test in found.items():
        method = "ks" if name in numbers else "chi2"
        scores[method][name] = np.float64(test.statistic)
        scores[f"{method}_p"][name] = np.float64(test.pvalue)
    return scores


if __name__ == "__main__":
    main([Case("ks+chi2", fit, score, read)], ["scipy", "numpy", "pandas"])
