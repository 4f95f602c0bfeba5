"""The best slices that sliceline finds in a table of codes, in its own environment."""

import importlib
import sys
from pathlib import Path

# This file has the name of the package that it asks.
sys.path = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
Slicefinder = importlib.import_module("sliceline").Slicefinder
numpy = importlib.import_module("numpy")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from protocol import answer  # noqa: E402


def run(question):
    """Return the codes of each slice (null for a feature that is not in it), its score, size and mean error."""
    finder = Slicefinder(alpha=question["alpha"], k=question["k"], max_l=2, min_sup=question["rows"], verbose=False)
    finder.fit(numpy.array(question["codes"]), numpy.array(question["errors"], float))
    return [
        {"codes": [None if code is None else int(code) for code in codes], **statistics}
        for codes, statistics in zip(
            finder.top_slices_.tolist(), map(plain, finder.top_slices_statistics_), strict=True
        )
    ]


def plain(statistics):
    return {name: float(value) for name, value in statistics.items()}


answer(run, ["sliceline", "numpy", "scikit-learn"])
