"""A sequential monitor at work on one model version: its state, and how that survives a restart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np

from collector_processor.monitors.base import Measurement, Sequential
from collector_processor.reference.profile import Reference
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
        """The fold before the first pane."""
        return cls(monitor, _frozen(monitor.begin(reference)))

    def step(self, pane: Window, reference: Reference) -> list[Measurement]:
        """Steps over a pane, which must end after the one before it; ``ValueError`` otherwise."""
        if self.stepped_ns is not None and pane.end_ns <= self.stepped_ns:
            raise ValueError(f"a pane that ends at {pane.end_ns} came after one that ends at {self.stepped_ns}")
        state, found = self.monitor.step(pane, reference, self.state)
        self.state, self.stepped_ns = _frozen(state), pane.end_ns
        return found


def saved_folds(folds: Iterable[Fold], reference: Reference) -> dict[str, Any]:
    """The states by monitor, for a snapshot: JSON with arrays in it."""
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
    """Gives each fold the state that :func:`saved_folds` had of it; yields why one starts afresh instead.

    ``not_before_ns`` is the start of the earliest pane that is not closed: no fold can have stepped beyond it.
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
    """What a state must share with the monitor that goes on with it."""
    settings = fold.monitor.settings.model_dump(mode="json", exclude={"enabled"})
    return {"version": fold.monitor.state_version, "settings": settings, "reference": reference.built_at}


def _restored(fold: Fold, reference: Reference, saved: Any) -> object:
    """The saved state; ``ValueError`` where it is not one of this monitor with these settings and this reference."""
    if not isinstance(saved, dict):
        raise ValueError("its saved state has no description")
    then, now = cast("dict[str, Any]", saved), _meaning(fold, reference)
    if then.get("version") != now["version"]:
        raise ValueError(f"its saved state is of version {then.get('version')}, this release has {now['version']}")
    if then.get("settings") != now["settings"]:
        raise ValueError("its settings changed")
    if then.get("reference") != now["reference"]:
        raise ValueError("its reference was built again")
    expected, arrays = _arrays(fold.state), then.get("state")
    if not isinstance(arrays, dict):
        raise ValueError("its saved state has no arrays")
    given = cast("dict[str, Array]", {name: np.asarray(values) for name, values in arrays.items()})
    for name, values in expected.items():
        found = given.get(name)
        if found is None or found.dtype != values.dtype or found.shape != values.shape:
            shown = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise ValueError(f"its saved {name} is {shown}, not {values.dtype} {list(values.shape)}")
    return type(fold.state)(**{name: given[name] for name in expected})


def _stepped_ns(head: Mapping[str, Any], not_before_ns: int) -> int | None:
    stepped_ns = head.get("stepped_ns")
    if stepped_ns is None:
        return None
    if not isinstance(stepped_ns, int) or stepped_ns > not_before_ns:
        raise ValueError("the panes that it would go on with are not there")
    return stepped_ns


def _arrays(state: Any) -> dict[str, Array]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def _frozen(state: Any) -> Any:
    """The state with arrays that cannot be written to: a step that did would change what was saved or compared.

    Arithmetic on an array without axes gives a number, which is made an array again.
    """
    arrays = {name: np.asarray(values) for name, values in _arrays(state).items()}
    for values in arrays.values():
        values.setflags(write=False)
    return type(state)(**arrays)
