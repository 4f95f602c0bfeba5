"""Save and load reference profiles: JSON to review, diff and ship; statistics only, never rows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, cast

import numpy as np

from collector_processor.columns.batch import F64, I32
from collector_processor.reference.document import MAX_CELLS, Json, Node, number, vector, written
from collector_processor.reference.estimator import checked_estimator
from collector_processor.reference.fits.registry import read_fits, written_fits
from collector_processor.reference.profile import Reference
from collector_processor.reference.respelled import respelled
from collector_processor.reference.summary import column_summary
from collector_processor.statistics.accumulate import OUTPUT_NAMES
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.classes import by_class_of
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema
from otel_ml.semconv import TASKS, ColumnRole

FORMAT: Final = "otel-ml-reference/1"
"""The value of a file's first key; any other version is rejected."""
MAX_BYTES: Final = 256 * 2**20
MAX_EDGES: Final = 4096
"""Most edges of one column that a file may have."""
_MAX_TABLE: Final = 1_000_000
_FEATURES: Final = "columns"
_OUTPUTS: Final = "outputs"
_ROLES: Final[dict[str, ColumnRole]] = {name: role for role, name in OUTPUT_NAMES.items()}
_PLAIN: Final = ("rows", "latency", "group_rows")
_FURTHER: Final = "further."
_BY_CLASS: Final = "outcomes.by_class"
_CONFUSION: Final = "outcomes.confusion"


def save_reference(reference: Reference, path: str | os.PathLike[str]) -> None:
    """Write a reference, completely or not at all. The folder must exist."""
    target = Path(path)
    text = reference_text(reference)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_reference(path: str | os.PathLike[str]) -> Reference:
    """Read what :func:`save_reference` wrote, exactly; raise ``ValueError`` with file and key for a bad file."""
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: has {size} bytes, which is too many for a reference; allowed: {MAX_BYTES}")
    return parse_reference(Path(path).read_bytes(), str(path))


def reference_text(reference: Reference) -> str:
    """Return a reference as the text of its file."""
    schema, pane = reference.schema, Pane.empty(reference.schema)
    pane.add(reference.pane)  # with the sizes that the tables have now
    columns: dict[str, dict[str, Json]] = {_FEATURES: {}, _OUTPUTS: {}}
    for position, spec in enumerate(schema.columns):
        place = columns[_FEATURES if spec.role == "feature" else _OUTPUTS]
        place[spec.name] = _column(reference, pane, position)
    vectors: dict[str, Json] = {
        name: vector(values) for name, values in pane.arrays().items() if _is_written(name, values)
    }
    document: dict[str, Json] = {
        "format": FORMAT,
        "model": reference.model_name,
        "task": schema.task,
        "positive_class": schema.positive_class,
        "unit": schema.unit,
        "rows": number(float(pane.rows[1])),
        "source": reference.source,
        "built_at": reference.built_at,
        "buckets": buckets(schema),
        "classes": {"limit": schema.classes.limit, "name": schema.classes.columns[0], "names": schema.classes.names(0)},
        "segments": {
            "limit": schema.groups.limit,
            "names": list(schema.groups.columns),
            "values": [[owner, name] for owner, name in schema.groups.pairs()],
        },
        "categories": {"limit": schema.categories.limit, "slots": len(schema.categories)},
        **columns,
        "vectors": vectors,
    }
    if schema.threshold is not None:
        document["threshold"] = number(schema.threshold)
    estimator = written_fits(schema, reference.estimator)
    if estimator is not None:
        document["estimator"] = checked_estimator(Node(estimator, "the reference", "estimator"))
    return written(document) + "\n"


def buckets(schema: Schema) -> dict[str, Json]:
    """Return the buckets in which the instrumentation counts features: coarse edges or categories."""
    by_feature: dict[str, Json] = {}
    for row, spec in enumerate(schema.numeric):
        if spec.role == "feature":
            edges = schema.edges[row, : finite_edges(schema.edges[row])]
            positions = np.unique(schema.drift_edges[row])
            by_feature[spec.name] = {"kind": "numeric", "edges": edges[positions[positions < len(edges)]].tolist()}
    for position, spec in enumerate(schema.categorical):
        if spec.role == "feature":
            by_feature[spec.name] = {"kind": "categorical", "categories": schema.categories.names(position)}
    return by_feature


def _is_plain(name: str) -> bool:
    """Return whether a vector of a pane belongs to no column."""
    return name in _PLAIN or "." in name


def _is_written(name: str, values: F64) -> bool:
    """Return whether a vector is in the file: further parts of a pane only if anything came."""
    return _is_plain(name) and (not name.startswith(_FURTHER) or bool(values.any()))


def _column(reference: Reference, pane: Pane, position: int) -> Json:
    """Return one column: its summary for a reader, then its vectors."""
    schema = reference.schema
    numeric = position < len(schema.numeric)
    head: dict[str, Json] = {
        "kind": "numeric" if numeric else "categorical",
        "position": position,
        "summary": cast("Json", column_summary(reference, position).as_mapping()),
        "missing": number(float(pane.missing[position])),
        "wrong_type": number(float(pane.wrong_type[position])),
    }
    if not numeric:
        table, column = schema.categories, position - len(schema.numeric)
        slots = table.column_slots(column)
        counts = vector(pane.category_counts[slots])
        if column in table.closed:
            head["closed"] = True
        return {**head, "categories": table.names(column), "slots": slots.tolist(), "counts": counts}
    edges = schema.edges[position, : finite_edges(schema.edges[position])]
    bins = len(edges) + 1
    return {
        **head,
        "low": number(float(schema.low[position])),
        "high": number(float(schema.high[position])),
        "spread": number(float(reference.spread[position])),
        "edges": [number(x) for x in edges.tolist()],
        "drift_edges": schema.drift_edges[position].tolist(),
        "counts": vector(pane.counts[position, :bins]),
        "excess": vector(pane.excess[position, :bins]),
    }


def parse_reference(text: str | bytes, name: str) -> Reference:
    """Return the reference that :func:`reference_text` wrote; errors call the file ``name``."""
    root = Node.parse(text, name)
    version = root["format"].text()
    if version != FORMAT:
        root["format"].fail(f"is '{version}'; allowed: {FORMAT}")
    task = root["task"].text()
    if task and task not in TASKS:
        root["task"].fail(f"is '{task}'; allowed: {', '.join(TASKS)}")
    numeric, categorical = _ordered(root)
    edges, drift_edges = _edges([node for _, node in numeric])
    classes, segments, positive_class = root["classes"], root["segments"], root["positive_class"].text()
    if positive_class and classes["names"].texts() and positive_class not in classes["names"].texts():
        root["positive_class"].fail(f"is '{positive_class}', which is not among classes.names")
    schema = Schema(
        task=task,
        positive_class=positive_class,
        numeric=tuple(spec for spec, _ in numeric),
        edges=edges,
        drift_edges=drift_edges,
        low=_each(numeric, "low"),
        high=_each(numeric, "high"),
        categorical=tuple(spec for spec, _ in categorical),
        categories=_categories(root["categories"], categorical),
        classes=_table(classes, [classes["name"].text()], [(0, text) for text in classes["names"].texts()]),
        groups=_table(segments, segments["names"].texts(), _pairs(segments["values"])),
        unit=root["unit"].text(),
        threshold=root["threshold"].real() if "threshold" in root else None,
    )
    estimator = checked_estimator(root["estimator"]) if "estimator" in root else None
    if estimator is not None:
        schema = read_fits(root["estimator"], schema)
    reference = Reference(
        model_name=root["model"].text(),
        schema=schema,
        pane=_pane(root["vectors"], schema, [node for _, node in numeric], [node for _, node in categorical]),
        spread=_each(numeric, "spread"),
        source=root["source"].text(),
        built_at=root["built_at"].text(),
        estimator=estimator,
    )
    return respelled(reference)


_Nodes = list[tuple[ColumnSpec, Node]]


def _ordered(root: Node) -> tuple[_Nodes, _Nodes]:
    """Return the numeric and the categorical columns, in the order of their positions."""
    nodes: _Nodes = [(ColumnSpec("feature", name), node) for name, node in root[_FEATURES].items()]
    for name, node in root[_OUTPUTS].items():
        if name not in _ROLES:
            node.fail(f"is not an output; allowed: {', '.join(_ROLES)}")
        nodes.append((ColumnSpec(_ROLES[name], name), node))
    last = len(nodes) - 1
    nodes.sort(key=lambda item: item[1]["position"].integer(0, last))
    kinds: dict[str, _Nodes] = {"numeric": [], "categorical": []}
    for position, (spec, node) in enumerate(nodes):
        if node["position"].value != position:
            node["position"].fail(f"must be {position}: positions number all columns from 0")
        kind = node["kind"].text()
        if kind not in kinds:
            node["kind"].fail(f"is '{kind}'; allowed: {', '.join(kinds)}")
        kinds[kind].append((spec, node))
    numeric, categorical = kinds["numeric"], kinds["categorical"]
    if nodes[: len(numeric)] != numeric:
        categorical[0][1]["position"].fail("must come after all numeric columns")
    return numeric, categorical


def _edges(nodes: list[Node]) -> tuple[F64, I32]:
    """Return the edges, and the positions of the coarse ones, padded."""
    edges = [_checked_edges(node["edges"]) for node in nodes]
    coarse = [node["drift_edges"].integers(0, max(len(row) - 1, 0)) for node, row in zip(nodes, edges, strict=True)]
    for node, row in zip(nodes, coarse, strict=True):
        if len(row) != len(coarse[0]) or not len(row) or (np.diff(row) < 0).any():
            node["drift_edges"].fail("must ascend, and every numeric column must have equally many")
    padded = np.full((len(nodes), max([1, *map(len, edges)])), np.inf)
    for position, row in enumerate(edges):
        padded[position, : len(row)] = row
    return padded, np.array(coarse, np.int32) if coarse else np.zeros((0, 1), np.int32)


def _checked_edges(node: Node) -> F64:
    row = node.numbers()
    if len(row) > MAX_EDGES:
        node.fail(f"are {len(row)}; allowed: {MAX_EDGES}")
    if not np.isfinite(row).all():
        node.fail("must be finite")
    if not (row[1:] > row[:-1]).all():
        node.fail("must ascend")
    return row


def _each(nodes: _Nodes, key: str) -> F64:
    return np.array([node[key].real() for _, node in nodes], np.float64)


def _table(node: Node, columns: list[str], pairs: list[tuple[int, str]]) -> Categories:
    """Return an append-only table from its limit, columns and slots."""
    limit = node["limit"].integer(0, _MAX_TABLE)
    if len(set(pairs)) != len(pairs) or any(not 0 <= owner < len(columns) for owner, _ in pairs):
        node.fail("has a value twice, or a value of an unknown segment")
    return Categories.from_pairs(columns, limit, pairs)


def _pairs(node: Node) -> list[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    for item in node.array():
        match item:
            case [int(owner), str(name)]:
                pairs.append((owner, name))
            case _:
                node.fail("must be pairs of a segment's number and a value")
    return pairs


def _categories(node: Node, columns: _Nodes) -> Categories:
    """Return the table of categories; every slot must be taken exactly once."""
    size = node["slots"].integer(len(columns), _MAX_TABLE * 10)
    pairs: list[tuple[int, str] | None] = [None] * size
    for column, (_, item) in enumerate(columns):
        names, slots = item["categories"].texts(), item["slots"].integers(0, size - 1).tolist()
        if len(slots) != len(names) + 1 or slots[0] != column:
            item["slots"].fail(f"must be {column}, then one slot for each category")
        for slot, name in zip(slots[1:], names, strict=True):
            if slot < len(columns) or pairs[slot] is not None:
                item["slots"].fail(f"has {slot}, which is taken")
            pairs[slot] = (column, name)
    taken = [pair for pair in pairs[len(columns) :] if pair is not None]
    if len(taken) != size - len(columns):
        node["slots"].fail("must be the number of categories plus columns")
    table = _table(node, [spec.name for spec, _ in columns], taken)
    closed = [column for column, (_, item) in enumerate(columns) if "closed" in item and item["closed"].value is True]
    return Categories.from_pairs(table.columns, table.limit, taken, closed)


def _pane(node: Node, schema: Schema, numeric: list[Node], categorical: list[Node]) -> Pane:
    """Return the vectors, each with the shape that the schema requires."""
    groups, classes = len(schema.groups) + 1, len(schema.classes)
    if groups * classes * 3 > MAX_CELLS:
        node.fail(f"would have {groups} groups of {classes} classes, which are too many")
    arrays = Pane.empty(schema).arrays()
    for name, values in arrays.items():
        if name == _BY_CLASS and name not in node and _CONFUSION in node:
            # Version 0.1.0 counted every pair of classes.
            arrays[name] = by_class_of(node[_CONFUSION].vector((groups, classes, classes)))[0]
        elif _is_plain(name) and (not name.startswith(_FURTHER) or name in node):
            arrays[name] = node[name].vector(values.shape)
    for row, item in enumerate(numeric):
        bins = finite_edges(schema.edges[row]) + 1
        arrays["counts"][row, :bins] = item["counts"].vector((bins,))
        arrays["excess"][row, :bins] = item["excess"].vector((bins,))
    for item in categorical:
        slots = np.array(item["slots"].value)
        arrays["category_counts"][slots] = item["counts"].vector((len(slots),))
    for position, item in enumerate([*numeric, *categorical]):
        arrays["missing"][position] = item["missing"].real()
        arrays["wrong_type"][position] = item["wrong_type"].real()
    return Pane.from_arrays(arrays)
