"""The alarms of River's detectors on streams of values, in River's own environment."""

import importlib
import sys
from pathlib import Path

# This file has the name of the package that it asks.
sys.path = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
binary, drift = importlib.import_module("river.drift.binary"), importlib.import_module("river.drift")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from protocol import answer  # noqa: E402
from row_streams import stream  # noqa: E402

DETECTORS = {
    "adwin": drift.ADWIN,
    "page_hinkley": drift.PageHinkley,
    "ddm": binary.DDM,
    "eddm": binary.EDDM,
    "hddm_a": binary.HDDMA,
}


def alarms(detector, values):
    found = []
    for row, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return found


def of_stream(values, names):
    found = {}
    for name in names:
        detector = DETECTORS[name]()
        found[name] = {"alarms": alarms(detector, values)}
        if name == "adwin":
            found[name] |= {"width": detector.width, "total": detector.total, "variance": detector.variance}
    return found


def run(question):
    """Return what each detector finds in each stream: those of seeds, and those that are given."""
    streams = [stream(seed, question["rows"]).tolist() for seed in question["seeds"]]
    return [of_stream(values, names) for values, names in zip(streams, question["names"], strict=True)]


answer(run, ["river", "numpy"])
