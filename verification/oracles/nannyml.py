"""NannyML's drift figures of every chunk of one of its bundled data sets, with limits, and the rows themselves."""

import warnings
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd
from nannyml_tables import tables
from protocol import answer

warnings.simplefilter("ignore")
CONTINUOUS = ["jensen_shannon", "hellinger", "kolmogorov_smirnov", "wasserstein"]
CATEGORICAL = ["jensen_shannon", "hellinger", "l_infinity", "chi2"]


def figures(asked):
    reference, analysis = tables(asked["dataset"])
    for name in reference.columns:
        if not pd.api.types.is_numeric_dtype(reference[name]):
            reference = reference.assign(**{name: reference[name].astype(object)})
            analysis = analysis.assign(**{name: analysis[name].astype(object)})
    folder = Path(asked["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    reference.to_parquet(folder / "reference.parquet")
    analysis.to_parquet(folder / "analysis.parquet")
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(reference.columns), continuous_methods=CONTINUOUS, categorical_methods=CATEGORICAL,
        treat_as_categorical=asked.get("categorical", []),
    ).fit(reference)  # fmt: skip
    table = calculator.calculate(analysis).filter(period="analysis").to_df()
    found = []
    for column, method in sorted({(column, method) for column, method, _ in table.columns if column != "chunk"}):
        part = table[column, method]
        for number in range(len(table)):
            row = part.iloc[number]
            found.append(
                {
                    "column": column, "method": method, "chunk": number,
                    "start": int(table["chunk", "chunk", "start_index"].iloc[number]),
                    "end": int(table["chunk", "chunk", "end_index"].iloc[number]),
                    "value": float(row["value"]), "alert": bool(row["alert"]),
                    "lower": None if row["lower_threshold"] is None else float(row["lower_threshold"]),
                    "upper": None if row["upper_threshold"] is None else float(row["upper_threshold"]),
                }
            )  # fmt: skip
    return {"rows": len(reference), "figures": found, "distinct": {n: int(reference[n].nunique()) for n in reference}}


if __name__ == "__main__":
    np.random.seed(0)
    answer(figures, ["nannyml", "numpy", "scipy", "pandas"])
