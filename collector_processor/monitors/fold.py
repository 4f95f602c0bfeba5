"""Run a sequential monitor on one model version, and keep its state across a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np

from collector_processor.monitors.base import Fed, Measurement, Sequential
from collector_processor.reference.profile import Reference
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import Array
from collector_processor.window.line import Json


@dataclass(slots=True)
class Fold:
    """One sequential monitor, its state, and the end of the last pane that it stepped over (Unix nanoseconds)."""

    monitor: Sequential[Any]
    state: Any
    stepped_ns: int | None = None

    @classmethod
    def begun(cls, monitor: Sequential[Any], reference: Reference) -> Fold:
        """Return the fold before the first pane."""
        return cls(monitor, _frozen(monitor.begin(reference)))

    def step(self, pane: Window, reference: Reference) -> list[Measurement]:
        """Step over a pane; raise ``ValueError`` if it does not end after the previous one."""
        if self.stepped_ns is not None and pane.end_ns <= self.stepped_ns:
            raise ValueError(f"a pane that ends at {pane.end_ns} came after one that ends at {self.stepped_ns}")
        state, measurements = self.monitor.step(pane, reference, self.state)
        self.state, self.stepped_ns = _frozen(state), pane.end_ns
        return measurements

    def feed(self, outcomes: OutcomeBatch, schema: Schema, reference: Reference) -> None:
        """Show joined labels to a monitor that looks at each of them; do nothing for any other."""
        if isinstance(self.monitor, Fed):
            monitor: Fed[Any] = self.monitor
            self.state = _frozen(monitor.feed(outcomes, schema, reference, self.state))


def saved_folds(folds: Iterable[Fold], reference: Reference) -> dict[str, Any]:
    """Return the states by monitor, for a snapshot: JSON with arrays."""
    return {
        fold.monitor.name: {
            **_meaning(fold, reference),
            "stepped_ns": fold.stepped_ns,
            "state": _arrays(fold.state),
        }
        for fold in folds
    }


def restore_folds(
    folds: Iterable[Fold], reference: Reference, saved: Mapping[str, Any], not_before_ns: int
) -> Iterator[str]:
    """Restore each fold from the state of :func:`saved_folds`; yield why any of them starts over instead.

    ``not_before_ns`` is the start of the earliest open pane: no fold can have stepped beyond it.
    """
    for fold in folds:
        name = fold.monitor.name
        if name not in saved:
            continue
        try:
            fold.state = _frozen(_restored(fold, reference, saved[name]))
            fold.stepped_ns = _stepped_ns(saved[name], not_before_ns)
        except ValueError as error:
            fold.state, fold.stepped_ns = _frozen(fold.monitor.begin(reference)), None
            yield f"{name}: {error}"


def _meaning(fold: Fold, reference: Reference) -> dict[str, Json]:
    """Return what a state must have in common with the monitor that continues with it."""
    settings = fold.monitor.settings.model_dump(mode="json", exclude={"enabled"})
    return {"version": fold.monitor.state_version, "settings": settings, "reference": reference.prepared(_sums_of)}


def _sums_of(reference: Reference) -> str:
    """Return a digest of what the reference counted, the same however much its tables have grown."""
    digest = hashlib.sha256()
    for name, values in sorted(reference.pane.arrays().items()):
        counted = np.nonzero(values)
        digest.update(name.encode())
        for part in (*counted, values[counted]):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _restored(fold: Fold, reference: Reference, saved: Any) -> object:
    """Return the saved state; raise ``ValueError`` unless monitor, settings and reference are the same."""
    if not isinstance(saved, dict):
        raise ValueError("its saved state has no description")
    then, now = cast("dict[str, Any]", saved), _meaning(fold, reference)
    if then.get("version") != now["version"]:
        raise ValueError(f"its saved state is of version {then.get('version')}, but this release has {now['version']}")
    if then.get("settings") != now["settings"]:
        raise ValueError("its settings changed")
    if then.get("reference") not in (now["reference"], reference.built_at):  # until version 0.2, the time
        raise ValueError("its reference was built again, from other rows")
    expected, arrays = _arrays(fold.state), then.get("state")
    if not isinstance(arrays, dict):
        raise ValueError("its saved state has no arrays")
    given = cast("dict[str, Array]", {name: np.asarray(values) for name, values in arrays.items()})
    for name, values in expected.items():
        array = given.get(name)
        if array is None or array.dtype != values.dtype or array.shape != values.shape:
            shown = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"its saved {name} is {shown}, not {values.dtype} {list(values.shape)}")
    return type(fold.state)(**{name: given[name] for name in expected})


def _stepped_ns(head: Mapping[str, Any], not_before_ns: int) -> int | None:
    stepped_ns = head.get("stepped_ns")
    if stepped_ns is None:
        return None
    if not isinstance(stepped_ns, int) or stepped_ns > not_before_ns:
        raise ValueError("the panes to continue with are missing")
    return stepped_ns


def _arrays(state: Any) -> dict[str, Array]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def _frozen(state: Any) -> Any:
    """Return the state with read-only arrays: a step that wrote to them would change what was saved or compared.

    Arithmetic on an array without axes returns a number, which is converted back to an array.
    """
    arrays = {name: np.asarray(values) for name, values in _arrays(state).items()}
    for values in arrays.values():
        values.setflags(write=False)
    return type(state)(**arrays)
