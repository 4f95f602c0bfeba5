from collector_processor.decode.compiled.walked import WalkedRequest

def walk(
    body: bytes, received_ns: int, *, text_length: int, models: int, rows: int, cells: int, logs: bool = False
) -> WalkedRequest | None:
    """The spans of an ``ExportTraceServiceRequest``, or the records of an ``ExportLogsServiceRequest`` with ``logs``;
    None where the fallback has to decode it as a whole.

    That is where ``text_length`` is below 20, or the octets are malformed or unusual, name more than ``models`` models,
    hold more than ``rows`` rows or ``cells`` repeated cells, or so sparse columns that these would take far more memory
    than the request. Spans with texts longer than ``text_length`` octets, or that stand for more than ``rows`` rows,
    are left as *other* ones. Releases the GIL.
    """
