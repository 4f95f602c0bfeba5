"""The mean of Y with predictions for all rows, as PPI++'s authors have it."""

import numpy as np
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from protocol import answer


def run(question):
    """Return the mean of each window, and both ends of its 95 % interval."""
    found = []
    for window in question["windows"]:
        y, p, every = (np.array(values, np.float64) for values in window)
        low, high = ppi_mean_ci(y, p, every, alpha=0.05)
        found.append([float(np.ravel(part)[0]) for part in (ppi_mean_pointestimate(y, p, every), low, high)])
    return found


answer(run, ["ppi-python", "numpy"])
