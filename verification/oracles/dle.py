"""What NannyML's DLE estimates, and the trees that it grew, on the data that it comes with."""

import nannyml
import numpy as np
import pandas as pd
from protocol import answer

FEATURES = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
METRICS = ["mae", "mape", "rmse", "rmsle"]


def asked(question):
    reference, analysis, truth = nannyml.load_synthetic_car_price_dataset()
    if question["changed"]:  # what NannyML does with categories that it has not seen, and with missing cells
        rng = np.random.default_rng(0)
        for table in (reference, analysis):
            table.loc[rng.random(len(table)) < 0.05, "fuel"] = np.nan
            table.loc[rng.random(len(table)) < 0.05, "km_driven"] = np.nan
        analysis.loc[rng.random(len(analysis)) < 0.05, "transmission"] = "steam"
    reference = reference.head(question["rows"])
    estimator = nannyml.DLE(
        feature_column_names=FEATURES, y_pred="y_pred", y_true="y_true", metrics=METRICS, chunk_size=6000
    )
    estimator.fit(reference)
    found = estimator.estimate(analysis).filter(period="analysis").to_df()
    realized = truth["y_true"].to_numpy()
    predicted = analysis["y_pred"].to_numpy()
    error = np.abs(realized - predicted)
    return {
        "reference": columns(reference, [*FEATURES, "y_pred", "y_true"]),
        "analysis": columns(analysis, [*FEATURES, "y_pred"]),
        "chunks": found[("chunk", "end_index")].add(1).tolist(),
        "estimates": {metric: found[(metric, "value")].tolist() for metric in METRICS},
        "trees": {
            metric.column_name: metric._dee_model.booster_.model_to_string()  # noqa: SLF001
            for metric in estimator.metrics
        },
        "features": [*FEATURES, "y_pred"],
        "realized_mae": [float(error[end - 6000 : end].mean()) for end in found[("chunk", "end_index")].add(1)],
    }


def columns(table, names):
    return {name: [None if pd.isna(cell) else cell for cell in table[name].tolist()] for name in names}


if __name__ == "__main__":
    answer(asked, ["nannyml", "lightgbm", "scikit-learn"])
