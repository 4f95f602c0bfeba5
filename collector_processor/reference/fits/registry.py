"""The list of all fitters, and the estimator part of a profile that they share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from collector_processor.reference.document import Json, Node
from collector_processor.reference.estimator import VERSION
from collector_processor.reference.fits.adaptive import AdaptiveFitter
from collector_processor.reference.fits.attribution_baseline import AttributionBaselineFitter
from collector_processor.reference.fits.base import FitRows, Fitter
from collector_processor.reference.fits.baseline import BaselineFitter
from collector_processor.reference.fits.calibration import CalibrationFitter
from collector_processor.reference.fits.cause_cells import CauseCellsFitter
from collector_processor.reference.fits.class_curves import ClassCurvesFitter
from collector_processor.reference.fits.compat import CompatFitter
from collector_processor.reference.fits.feature_losses import FeatureLossesFitter
from collector_processor.reference.fits.losses import LossFitter
from collector_processor.reference.fits.pair_scores import PairScoresFitter
from collector_processor.reference.fits.reconstruction import ReconstructionFitter
from collector_processor.reference.fits.slice_cells import SliceCellsFitter
from collector_processor.statistics.schema import Schema

FITTERS: Final = tuple[Fitter[Any], ...](
    [
        CalibrationFitter(),
        ClassCurvesFitter(),
        BaselineFitter(),
        PairScoresFitter(),
        ReconstructionFitter(),
        AdaptiveFitter(),
        LossFitter(),
        AttributionBaselineFitter(),
        SliceCellsFitter(),
        CauseCellsFitter(),
        FeatureLossesFitter(),
        CompatFitter(),
    ]
)
"""Every fitter, in the order in which they run; a later one may use what an earlier one made."""


def fitted(rows: FitRows, *, thorough: bool) -> Schema:
    """Return the schema with everything that can be fitted on the rows; slow fits only if ``thorough``."""
    schema = rows.schema
    for fitter in FITTERS:
        fit = fitter.fit(replace(rows, schema=schema)) if thorough or not fitter.slow else None
        if fit is not None:
            schema = replace(schema, fits={**schema.fits, fitter.kind: fit})
    return schema


def written_fits(schema: Schema, others: Mapping[str, Json] | None) -> dict[str, Json] | None:
    """Return the estimator part of a profile: the schema's fits, and ``others`` that no fitter knows; None if empty."""
    written: dict[str, Json] = dict(others or {})
    for fitter in FITTERS:
        fit: Any = schema.fit(fitter.kind)
        if fit is not None:
            written[fitter.name] = fitter.written(fit)
    return {**written, "version": VERSION} if written else None


def fit_digests(schema: Schema) -> dict[str, str]:
    """Return a digest of each fit by its name: sums in the cells of one fit cannot be added to those of another."""
    written = written_fits(schema, None) or {}
    return {
        name: hashlib.blake2b(json.dumps(fit, sort_keys=True).encode(), digest_size=16).hexdigest()
        for name, fit in written.items()
        if name != "version"
    }


def read_fits(node: Node, schema: Schema) -> Schema:
    """Return the schema with the fits of an estimator part that was checked."""
    for fitter in FITTERS:
        if fitter.name in node:
            schema = replace(schema, fits={**schema.fits, fitter.kind: fitter.read(node[fitter.name], schema)})
    return schema
