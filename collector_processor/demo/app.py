"""The serving app of the demo: FastAPI and scikit-learn, started under ``opentelemetry-instrument``.

Nothing in it is about monitoring but one line: it returns the ids of its predictions, so that whoever learns the truth
can say which prediction it belongs to.
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
    """The fitted model."""
    # The demo's own file, written a moment ago by its parent process.
    return pickle.loads(Path(os.environ["FLIGHT_MODEL"]).read_bytes())  # noqa: S301


class Departures(BaseModel):
    """Flights about to leave, as columns."""

    columns: dict[str, list[float | str | None]]


@app.get("/ready")
def ready() -> Response:
    """Says that the model is loaded."""
    loaded_model()
    return Response(status_code=204)


@app.post("/predict")
def predict(departures: Departures) -> dict[str, object]:
    """The probability of a delay for each flight."""
    model = loaded_model()
    frame = pd.DataFrame(departures.columns)
    probability = model.predict_proba(frame)[:, list(model.classes_).index("delayed")]
    return {"probability": probability.tolist(), "ids": otel_ml.last_prediction_ids()}
