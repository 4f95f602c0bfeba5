"""Read the buckets of a reference profile file, with the standard library alone."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

from otel_ml.config import Settings
from otel_ml.emit.buckets import Buckets, categorical_buckets, numeric_buckets

_logger = logging.getLogger(__name__)

FORMAT: Final = "otel-ml-reference/1"
KINDS: Final = ("numeric", "categorical")


@dataclass(frozen=True, slots=True)
class Profile:
    """The parts of a reference profile used here: its model, and the buckets by feature."""

    model: str
    buckets: Mapping[str, Buckets]


def read_profile(path: str) -> Profile:
    """Read the buckets of a reference profile file.

    Raises :class:`OSError` if it cannot be opened, and :class:`ValueError` with the reason if it is not a profile.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or cast(Any, content).get("format") != FORMAT:
        raise ValueError(f"{path}: not a reference profile of format {FORMAT!r}")
    profile = cast("dict[str, Any]", content)
    try:
        buckets = {str(name): _buckets(name, entry) for name, entry in profile["buckets"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: malformed 'buckets': {error!r}") from error
    return Profile(str(profile.get("model", "")), buckets)


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
