from collector_processor.decode.compiled.walked import WalkedRequest

def walk(
    body: bytes, received_ns: int, *, text_length: int, models: int, rows: int, cells: int, logs: bool = False
) -> WalkedRequest | None:
    """Return the spans of an ``ExportTraceServiceRequest``, or the records of an ``ExportLogsServiceRequest`` with
    ``logs``; None if the fallback has to decode the whole request.

    That is the case if ``text_length`` is below 20, or if the octets are malformed or unusual, name more than
    ``models`` models, have more than ``rows`` rows or ``cells`` repeated cells, or have columns so sparse that they
    would take far more memory than the request. Spans with texts longer than ``text_length`` octets, or that stand for
    more than ``rows`` rows, are left as *other* ones. Releases the GIL.
    """
