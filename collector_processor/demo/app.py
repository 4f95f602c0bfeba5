"""The serving app of the demo: FastAPI and scikit-learn, started under ``opentelemetry-instrument``.

Only one line of it is about monitoring: it returns the ids of its predictions, so that the label job can say which
prediction a label belongs to.
"""

from __future__ import annotations

import os
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import FastAPI, Response
from pydantic import BaseModel

import otel_ml

app = FastAPI()


@lru_cache(maxsize=1)
def loaded_model() -> Any:
    """Return the fitted model."""
    # The demo's own file, written a moment ago by its parent process.
    return pickle.loads(Path(os.environ["FLIGHT_MODEL"]).read_bytes())  # noqa: S301


class Departures(BaseModel):
    """Flights about to leave, as columns."""

    columns: dict[str, list[float | str | None]]


@app.get("/ready")
def ready() -> Response:
    """Answer once the model is loaded."""
    loaded_model()
    return Response(status_code=204)


@app.post("/predict")
def predict(departures: Departures) -> dict[str, object]:
    """Return the probability of a delay for each flight."""
    model = loaded_model()
    frame = pd.DataFrame(departures.columns)
    probability = model.predict_proba(frame)[:, list(model.classes_).index("delayed")]
    return {"probability": probability.tolist(), "ids": otel_ml.last_prediction_ids()}
