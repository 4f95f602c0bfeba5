"""Frouros: PSI of every number; it has no distance for texts."""

from __future__ import annotations

from frouros.detectors.data_drift import PSI
from protocol import Case, main


def fit(reference, numeric, categorical):
    detectors = {name: PSI() for name in numeric}
    for name, detector in detectors.items():
        detector.fit(X=reference[name].to_numpy())
    return detectors


def score(detectors, current):
    return {name: detector.compare(X=current[name].to_numpy())[0] for name, detector in detectors.items()}


def read(found):
    return {"psi": {name: result.distance for name, result in found.items()}}


if __name__ == "__main__":
    main([Case("psi", fit, score, read)], ["frouros", "scipy", "numpy", "pandas"])
