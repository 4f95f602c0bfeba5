from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from collector_processor.columns.batch import I32

def texts_to_codes(values: NDArray[Any], missing: tuple[object, ...] = ()) -> tuple[I32, Sequence[str]] | None:
    """Number the texts of an array of objects ``[n]`` by first appearance; return codes ``[n]`` and the texts.

    None, NaN and the objects in ``missing`` (compared by identity) get −1. Returns None, so that the caller takes
    another path, if a cell is anything else (including a subclass of ``str`` and a text with a lone surrogate), or if
    more than half of the rows so far are objects not seen before: after 4,096 rows if their texts were seen, else after
    16,384. At most 65,536 addresses are kept, in 2 MB; later objects are looked up by their text.

    Raises :class:`TypeError` for any other array.
    """
