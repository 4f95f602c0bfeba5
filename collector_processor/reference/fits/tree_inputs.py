"""The inputs of trees from the schema of a reference, and how a profile holds them and the trees.

Features are written as their places in the schema, and categories as their codes in the order of the schema's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, Mask, PredictionBatch
from collector_processor.reference.document import Json, Node, number
from collector_processor.statistics.fits.inputs import MISSING, UNSEEN, Inputs
from collector_processor.statistics.fits.trees import MAX_NODES, MAX_TREES, Trees
from collector_processor.statistics.groups import cell_slots
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts

MAX_CODE: Final = 100_000
MAX_CELLS: Final = 50_000_000
"""Most inputs of all rows together: of more rows, a part is drawn."""


def schema_inputs(schema: Schema, batch: PredictionBatch, least: float) -> Inputs:
    """Return the features of a schema as inputs; categories with fewer reference rows than ``least`` have code 0.

    Codes follow the alphabet. Missing cells have a code if there are enough of them.
    """
    places = [place for place, spec in enumerate(schema.columns) if spec.role == "feature"]
    numeric = [place for place in places if place < len(schema.numeric)]
    categorical = [place for place in places if place >= len(schema.numeric)]
    codes: list[Mapping[str, int]] = []
    for place in categorical:
        table = place - len(schema.numeric)
        column = batch.features.get(schema.columns[place].name)
        slots = cell_slots(schema.categories, table, Column() if column is None else as_texts(column))
        counts = np.bincount(slots + 1, minlength=len(schema.categories) + 1)
        names = (MISSING, *schema.categories.names(table))
        rows = counts[np.append(0, schema.categories.column_slots(table)[1:] + 1)].tolist()
        enough = [name for name, count in zip(names, rows, strict=True) if count >= least]
        listed = {name: code for code, name in enumerate(sorted(enough, key=_alphabet), 1)}
        codes.append({name: listed.get(name, UNSEEN) for name in names})
    columns = schema.columns
    return Inputs(
        (*numeric, *categorical), tuple(columns[place].name for place in numeric),
        tuple(columns[place].name for place in categorical), tuple(codes),
    )  # fmt: skip


def drawn_rows(used: Mask, width: int) -> I64:
    """Return the rows that are used, or a part of them that is always the same, so that ``width`` inputs fit."""
    rows = np.flatnonzero(used)
    most = MAX_CELLS // width
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(len(rows)).choice(rows, most, replace=False))


def _alphabet(category: str) -> str:
    """Return what a category is sorted by: missing cells are where NannyML has them."""
    return "NML_missing_value" if category == MISSING else category


def input_ranges(inputs: Inputs, matrix: F64, weights: F64) -> tuple[F64, F64, F64]:
    """Return the least and the greatest finite number of each numeric input, and the rows of each categorical one with
    a category that is not listed.
    """
    numeric = len(inputs.numeric)
    numbers = np.where(np.isfinite(matrix[:, :numeric]), matrix[:, :numeric], np.nan)
    low = np.fmin.reduce(numbers, axis=0, initial=np.inf)
    high = np.fmax.reduce(numbers, axis=0, initial=-np.inf)
    unlisted = weights @ (matrix[:, numeric : len(inputs.names)] == 0.0)
    return low, high, unlisted


def written_inputs(inputs: Inputs) -> dict[str, Json]:
    """Return inputs as JSON: the places of features, and the codes of each categorical one."""
    places = inputs.places[len(inputs.numeric) :]
    codes = {f"codes_{place}": list(codes.values()) for place, codes in zip(places, inputs.codes, strict=True)}
    return {"features": list(inputs.places), **codes}


def read_inputs(node: Node, schema: Schema) -> Inputs:
    """Return the inputs of :func:`written_inputs`."""
    places = node["features"].integers(0, len(schema.columns) - 1).tolist()
    if places != sorted(set(places)):
        node["features"].fail("must ascend")
    if any(schema.columns[place].role != "feature" for place in places):
        node["features"].fail("must be features")
    numeric = [place for place in places if place < len(schema.numeric)]
    categorical = [place for place in places if place >= len(schema.numeric)]
    codes: list[Mapping[str, int]] = []
    for place in categorical:
        names = (MISSING, *schema.categories.names(place - len(schema.numeric)))
        item = node[f"codes_{place}"]
        listed = item.integers(0, MAX_CODE).tolist()
        if not 0 < len(listed) <= len(names):
            item.fail(f"must have at most {len(names)} codes: one for missing cells, and one for each category")
        codes.append(dict(zip(names, listed, strict=False)))  # categories may have come since the fit
    columns = schema.columns
    return Inputs(
        tuple(places),
        tuple(columns[place].name for place in numeric),
        tuple(columns[place].name for place in categorical),
        tuple(codes),
    )


def written_trees(trees: Trees) -> dict[str, Json]:
    """Return trees as JSON."""
    return {
        "roots": trees.roots.tolist(),
        "feature": trees.feature.tolist(),
        "threshold": [number(x) for x in trees.threshold.tolist()],
        "left": trees.left.tolist(),
        "right": trees.right.tolist(),
        "missing_left": trees.missing_left.astype(int).tolist(),
        "sets": trees.sets.tolist(),
        "set_starts": trees.set_starts.tolist(),
        "set_codes": trees.set_codes.tolist(),
        "values": [number(x) for x in trees.values.tolist()],
    }


def read_trees(node: Node, inputs: int) -> Trees:
    """Return the trees of :func:`written_trees`, which look at this many inputs; raise ``ValueError`` for others."""
    starts = node["set_starts"].integers(0, MAX_CODE * 10)
    codes = node["set_codes"].integers(0, MAX_CODE)
    if not len(starts) or starts[0] != 0 or starts[-1] != len(codes) or (starts[1:] < starts[:-1]).any():
        node["set_starts"].fail(f"must ascend from 0 to {len(codes)}")
    trees = Trees(
        node["roots"].integers(-MAX_NODES, MAX_NODES),
        node["feature"].integers(0, inputs - 1),
        node["threshold"].numbers(),
        node["left"].integers(-MAX_NODES, MAX_NODES),
        node["right"].integers(-MAX_NODES, MAX_NODES),
        node["missing_left"].integers(0, 1).astype(np.bool_),
        node["sets"].integers(-1, MAX_NODES),
        starts,
        codes,
        node["values"].numbers(),
    )
    if not len(trees.roots):
        node["roots"].fail(f"must have 1 to {MAX_TREES} trees")
    if mistake := trees.mistake(inputs, MAX_CODE + 1):
        node.fail(mistake)
    return trees
