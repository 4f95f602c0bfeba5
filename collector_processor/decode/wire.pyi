from collector_processor.decode.walked import WalkedRequest

def walk(body: bytes, received_ns: int, *, text_length: int, models: int, rows: int) -> WalkedRequest | None:
    """The spans of an ``ExportTraceServiceRequest``; None where the fallback has to decode it as a whole.

    That is where the octets are malformed or unusual, name more than ``models`` models, or hold so sparse columns that
    these would take far more memory than the request. Spans with texts longer than ``text_length`` octets, or that
    stand for more than ``rows`` rows, are left as *other* ones. Releases the GIL.
    """
