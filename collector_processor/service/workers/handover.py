"""Pass a decoded request from the process that receives it to the one that counts it.

The arrays are not copied on either side: they are sent from where they are and read into one block, of which the new
arrays are views.
"""

from __future__ import annotations

from collector_processor.columns import codec
from collector_processor.columns.batch import Decoded, LabelBatch, PredictionBatch
from collector_processor.columns.codec import Packed
from collector_processor.columns.observations import ObservationBatch
from collector_processor.columns.parts import plain_of, restored
from collector_processor.journal.base import Request


def pack(request: Request) -> Packed:
    """Pack a request without its body: what the statistics need.

    >>> import numpy as np
    >>> labels = LabelBatch("m", np.array([1]), np.zeros((1, 2), np.uint64), values=np.array([0.5]))
    >>> head, buffers = pack(Request("traces", b"body", Decoded(labels=(labels,), items=1), 1, 2))
    >>> unpack(head, bytearray(b"".join(buffers))).decoded.labels[0].values.tolist()
    [0.5]
    """
    decoded = request.decoded
    return codec.pack([
        [request.signal, request.items, request.received_ns],
        [*map(plain_of, decoded.predictions)],
        [*map(plain_of, decoded.labels)],
        [decoded.items, decoded.rejected, decoded.message, decoded.dropped],
        [*map(plain_of, decoded.observations)],
    ])  # fmt: skip


def unpack(head: bytes, block: bytearray) -> Request:
    """Rebuild the request with an empty body; its arrays are views of ``block``."""
    (signal, items, received_ns), predictions, labels, counts, observations = codec.unpack(head, block)
    decoded = Decoded(
        tuple(restored(PredictionBatch, batch) for batch in predictions),
        tuple(restored(LabelBatch, batch) for batch in labels),
        *counts,
        observations=tuple(restored(ObservationBatch, batch) for batch in observations),
    )
    return Request(signal, b"", decoded, items, received_ns)
