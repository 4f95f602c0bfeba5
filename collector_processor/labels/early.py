"""Labels of one model that came before their prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, U64, Column, LabelBatch, Mask
from collector_processor.columns.classes import class_column
from collector_processor.labels.generation import Defaults, Values
from collector_processor.labels.generations import Dropped, Generations, Places
from collector_processor.labels.truth import label_cells
from collector_processor.statistics.groups import cell_slots
from collector_processor.statistics.schema import Categories
from otel_ml.classes import canonical_class

CLASSES_LIMIT: Final = 100_000
"""Number of class texts kept for one model; labels of further ones count as ``wrong_kind`` when they join."""
_DEFAULTS: Final[Defaults] = {"class": np.array(-1, np.int16), "value": np.array(np.nan)}
_CLASSES: Final = "classes"


class EarlyLabels:
    """A store bounded by count and by time, with one label for each id: a later one replaces it.

    Labels are kept as they came, because the model's task may not be known yet. A label stays after a prediction has
    taken it (it is *settled* then), because another version may predict the same id; it leaves with its generation.
    """

    def __init__(self, model_name: str, *, capacity: int, wait_ns: int) -> None:
        self.model_name = model_name
        self.store = Generations(_DEFAULTS, capacity=capacity, wait_ns=wait_ns)
        self._classes = Categories((_CLASSES,), CLASSES_LIMIT)

    def __len__(self) -> int:
        """Labels in memory."""
        return len(self.store)

    def classes(self) -> list[str]:
        """Return the classes that labels had."""
        return [name for name in map(canonical_class, self._classes.names(0)) if name]

    def insert(self, labels: LabelBatch) -> Dropped:
        """Keep labels of ids that have none here; return what was evicted for lack of capacity."""
        classes, values = self._encoded(labels)
        return self.store.insert(labels.ids, labels.time_ns, {"class": classes, "value": values})

    def find(self, ids: U64) -> Places:
        """Return the places of the labels of ids uint64 ``[n, 2]``."""
        return self.store.find(ids)

    def equals(self, places: Places, labels: LabelBatch) -> Mask:
        """Return which of the labels equal those kept at their places, bool ``[n]``."""
        classes, values = self._encoded(labels)
        kept: F64 = self.store.take("value", places)
        same_value = (kept == values) | (np.isnan(kept) & np.isnan(values))
        return same_value & (self.store.take("class", places) == classes)

    def replace(self, places: Places, labels: LabelBatch) -> None:
        """Replace the labels kept at their places."""
        classes, values = self._encoded(labels)
        self.store.put("class", places, classes)
        self.store.put("value", places, values)
        self.store.put("time_ns", places, labels.time_ns)

    def at(self, places: Places, ids: U64) -> LabelBatch:
        """Return the labels at places that are all hits, and which belong to ``ids``."""
        slots, codes = np.unique(self.store.take("class", places), return_inverse=True)
        names = tuple("" if slot < 0 else self._classes.name(slot) for slot in slots.tolist())
        known = codes.astype(np.int32)
        known[slots[codes] < 0] = -1
        return LabelBatch(
            self.model_name,
            self.store.take("time_ns", places),
            ids,
            class_column(Column(None, known, names)),  # a state of version 0.1.0 has other spellings
            self.store.take("value", places),
        )

    def arrays(self) -> dict[str, Values]:
        """Return everything as arrays by name, for a snapshot."""
        names = json.dumps(self._classes.names(0)).encode()
        return {_CLASSES: np.frombuffer(names, np.uint8), **self.store.arrays()}

    @classmethod
    def from_arrays(
        cls, model_name: str, arrays: Mapping[str, Values], *, capacity: int, wait_ns: int
    ) -> tuple[EarlyLabels, Dropped]:
        """Rebuild the labels from :meth:`arrays`; return them and what no longer fits into a smaller capacity."""
        early = cls(model_name, capacity=capacity, wait_ns=wait_ns)
        early._classes.slots(0, json.loads(arrays[_CLASSES].tobytes()))  # as saved: each has its slot
        return early, early.store.load(arrays)

    def _encoded(self, labels: LabelBatch) -> tuple[I32, F64]:
        """Return the class slots (−1 for none) and values (NaN for none) of labels."""
        cell = label_cells(labels)
        numbers = cell.numbers
        if labels.values is not None:
            numbers = np.where(np.isfinite(labels.values), labels.values, numbers)
        slots = cell_slots(self._classes, 0, Column(None, cell.codes, cell.categories))
        return np.where(slots == 0, -1, slots).astype(np.int32), numbers
