"""Read the buckets of a reference profile file, with the standard library alone."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

from otel_ml.classes import canonical_class
from otel_ml.config import Settings
from otel_ml.emit.buckets import Buckets, categorical_buckets, numeric_buckets, observed_edges, profile_id

_logger = logging.getLogger(__name__)

FORMAT: Final = "otel-ml-reference/1"
KINDS: Final = ("numeric", "categorical")
OUTPUTS: Final[tuple[str, ...]] = ("prediction", "score")
"""The outputs that are counted, by the name that they have in a profile."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The parts of a reference profile used here: its model, and the buckets of features and outputs by name.

    ``id`` identifies the buckets, empty for a profile without columns. ``classes`` are those of predictions.
    """

    model: str
    buckets: Mapping[str, Buckets]
    outputs: Mapping[str, Buckets] = field(default_factory=dict[str, Buckets])
    id: str = ""
    task: str = ""
    positive_class: str = ""
    classes: frozenset[str] = frozenset()


def read_profile(path: str) -> Profile:
    """Read the buckets of a reference profile file.

    Raises :class:`OSError` if it cannot be opened, and :class:`ValueError` with the reason if it is not a profile.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or cast(Any, content).get("format") != FORMAT:
        raise ValueError(f"{path}: not a reference profile of format {FORMAT!r}")
    profile = cast("dict[str, Any]", content)
    model = str(profile.get("model", ""))
    try:
        if "columns" not in profile:
            return Profile(model, {str(name): _buckets(name, entry) for name, entry in profile["buckets"].items()})
        return _whole(model, profile)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: malformed 'buckets' or 'columns': {error!r}") from error


def _whole(model: str, profile: Mapping[str, Any]) -> Profile:
    features = {str(name): _column(name, entry) for name, entry in profile["columns"].items()}
    entries = profile["outputs"]
    outputs = {role: _column(role, entries[role], classes=True) for role in OUTPUTS if role in entries}
    positive = canonical_class(str(profile["positive_class"]))
    columns: dict[tuple[str, str], Buckets] = {("feature", name): each for name, each in features.items()}
    columns |= {(role, role): each for role, each in outputs.items()}
    classes = frozenset(map(canonical_class, map(str, profile["classes"]["names"])))
    return Profile(
        model, features, outputs, profile_id(columns, positive), str(profile["task"]), positive, classes - {""}
    )


def _column(name: str, entry: Mapping[str, Any], *, classes: bool = False) -> Buckets:
    if entry["kind"] != "numeric":
        categories = [str(category) for category in entry["categories"]]
        named = [text for text in map(canonical_class, categories) if text] if classes else categories
        return _buckets(name, {"kind": entry["kind"], "categories": named})
    edges, positions = [float(edge) for edge in entry["edges"]], [int(position) for position in entry["drift_edges"]]
    return _buckets(
        name,
        {"kind": "numeric", "edges": observed_edges(edges, positions, float(entry["low"]), float(entry["high"]))},
    )


def _buckets(name: str, entry: Mapping[str, Any]) -> Buckets:
    kind = entry["kind"]
    if kind == "categorical":
        return categorical_buckets([str(category) for category in entry["categories"]])
    if kind != "numeric":
        raise ValueError(f"feature {name!r} has buckets of kind {kind!r}; allowed: {', '.join(KINDS)}")
    edges = [float(edge) for edge in entry["edges"]]
    ascending = all(low < high for low, high in pairwise(edges))
    if not ascending or not all(map(math.isfinite, edges)):
        raise ValueError(f"feature {name!r}: edges must be finite and ascending")
    return numeric_buckets(edges)


def load_profile(settings: Settings, model_name: str) -> Profile | None:
    """Return the profile that the settings name, None if there is none.

    A profile that cannot be read is logged as an error, because a missing file must not stop the application. A profile
    from ``OTEL_ML_REFERENCE`` is only for the model that it names, because a process may have several models.
    """
    if settings.reference is None:
        return None
    try:
        profile = read_profile(settings.reference)
    except (OSError, ValueError) as error:
        _logger.error("model %r: features are not counted: %s", model_name, error)  # noqa: TRY400 - it says it all
        return None
    if settings.reference_from_environment and profile.model not in ("", model_name):
        return None
    return profile
