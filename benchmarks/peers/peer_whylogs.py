"""whylogs: a profile of each side, then its drift scores: KS from sketches of numbers, χ² from frequent texts."""

from __future__ import annotations

import whylogs
from protocol import Case, main
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


def fit(reference, numeric, categorical):
    return whylogs.log(reference).view()


def score(profile, current):
    return calculate_drift_scores(target_view=whylogs.log(current).view(), reference_view=profile)


def read(found):
    scores = {"ks": {}, "ks_p": {}, "chi2": {}, "chi2_p": {}}
    for name, score in found.items():
        method = {"ks": "ks", "chi-square": "chi2"}[score["algorithm"]]
        scores[method][name], scores[f"{method}_p"][name] = score["statistic"], score["pvalue"]
    return scores


if __name__ == "__main__":
    main([Case("ks+chi2", fit, score, read)], ["whylogs", "whylogs-sketching", "numpy", "pandas"])
