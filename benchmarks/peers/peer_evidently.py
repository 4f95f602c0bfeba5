"""Evidently: its drift preset, by default (normed Wasserstein, Jensen–Shannon) and with PSI for all columns."""

from __future__ import annotations

import math
from functools import partial

from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from protocol import Case, main

_OURS = {
    "Wasserstein distance (normed)": ("wasserstein", 1.0),
    "Jensen-Shannon distance": ("js", 1.0 / math.sqrt(math.log(2.0))),  # base e to base 2
    "psi": ("psi", 1.0),
}


def fit(reference, numeric, categorical, *, options):
    """Nothing is kept of a reference but its rows: they are read again by every report."""
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    return Report([DataDriftPreset(**options)]), definition, Dataset.from_pandas(reference, data_definition=definition)


def score(fitted, current):
    report, definition, reference = fitted
    return report.run(Dataset.from_pandas(current, data_definition=definition), reference).dict()


def read(found):
    scores = {}
    for metric in found["metrics"]:
        settings = metric["config"]
        if "column" in settings:
            method, factor = _OURS[settings["method"]]
            scores.setdefault(method, {})[settings["column"]] = float(metric["value"]) * factor
    return scores


if __name__ == "__main__":
    main(
        [
            Case("wasserstein+js", partial(fit, options={}), score, read),
            Case("psi", partial(fit, options={"method": "psi"}), score, read),
        ],
        ["evidently", "scipy", "numpy", "pandas"],
    )
