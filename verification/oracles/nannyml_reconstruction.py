"""NannyML's reconstruction error of every chunk of one of its bundled data sets, with bands, limits and the rows."""

import warnings
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd
from nannyml_tables import tables
from protocol import answer

warnings.simplefilter("ignore")
PARTS = ("value", "lower_confidence_boundary", "upper_confidence_boundary", "lower_threshold", "upper_threshold")


def holes(frame, share, seed):
    """The frame without a part of its cells."""
    rng = np.random.default_rng(seed)
    return frame.mask(pd.DataFrame(rng.random(frame.shape) < share, index=frame.index, columns=frame.columns))


def run(question):
    reference, analysis = tables(question["dataset"])
    for name in reference.columns:
        if not pd.api.types.is_numeric_dtype(reference[name]):
            reference = reference.assign(**{name: reference[name].astype(object)})
            analysis = analysis.assign(**{name: analysis[name].astype(object)})
    if question["missing"]:
        reference, analysis = holes(reference, question["missing"], 1), holes(analysis, question["missing"], 2)
    folder = Path(question["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    reference.to_parquet(folder / "reference.parquet")
    analysis.to_parquet(folder / "analysis.parquet")
    calculator = nannyml.DataReconstructionDriftCalculator(column_names=list(reference.columns)).fit(reference)
    found = calculator.calculate(analysis).filter(period="analysis").to_df()
    chunks = {
        part: [None if value is None or np.isnan(value) else value for value in found["reconstruction_error", part]]
        for part in PARTS
    }
    return {
        "chunks": chunks, "alerts": [bool(value) for value in found["reconstruction_error", "alert"]],
        "starts": found["chunk", "start_index"].tolist(), "ends": found["chunk", "end_index"].tolist(),
        "components": len(calculator._pca.components_), "features": len(reference.columns),  # noqa: SLF001
    }  # fmt: skip


answer(run, ["nannyml", "numpy", "pandas", "scikit-learn", "category-encoders"])
