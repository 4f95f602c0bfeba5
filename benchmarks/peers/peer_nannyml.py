"""NannyML: univariate drift by its default, Jensen–Shannon, and by KS and χ²; all rows of a side are one chunk."""

from __future__ import annotations

import warnings
from functools import partial

import nannyml
from protocol import Case, main

_OURS = {"jensen_shannon": "js", "kolmogorov_smirnov": "ks", "chi2": "chi2"}


def fit(reference, numeric, categorical, *, continuous, discrete):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one chunk gives no thresholds worth having; ten would take it longer
        return nannyml.UnivariateDriftCalculator(
            column_names=[*numeric, *categorical],
            continuous_methods=[continuous],
            categorical_methods=[discrete],
            chunk_number=1,
        ).fit(reference)


def score(calculator, current):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return calculator.calculate(current)


def read(result):
    table = result.filter(period="analysis").to_df()
    scores = {}
    for name, method, what in table.columns:
        if what == "value":
            scores.setdefault(_OURS[method], {})[name] = table[name, method, what].iloc[0]
    return scores


if __name__ == "__main__":
    main(
        [
            Case("js", partial(fit, continuous="jensen_shannon", discrete="jensen_shannon"), score, read),
            Case("ks+chi2", partial(fit, continuous="kolmogorov_smirnov", discrete="chi2"), score, read),
        ],
        ["nannyml", "scipy", "numpy", "pandas"],
    )
