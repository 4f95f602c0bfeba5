"""The services that a request has passed through: a header that each adds its id to, so that a loop is noticed.

Requests are forwarded byte for byte, so the mark is not in them. What stands between two services must pass the header
on; a Collector does with ``include_metadata`` and the ``headers_setter`` extension.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "otel-ml-via"
_MAX_CHARACTERS: Final = 1024
_CLEAN: Final = re.compile(r"[\w.:, -]*", re.ASCII)
_MAX_SERVICES: Final = 16
"""More services than this in a row are taken for a loop, too: one of them does not know its own id."""


def cleaned(via: str) -> str:
    r"""Return the header if it can be sent on as it is; a sender may put anything into it.

    >>> cleaned("a, b"), cleaned("a\r\nb"), cleaned("ü"), cleaned("a" * 2000)
    ('a, b', '', '', '')
    """
    return via if len(via) <= _MAX_CHARACTERS and _CLEAN.fullmatch(via) else ""


def passed_through(via: str, instance_id: str) -> bool:
    """Return whether a request with this header has been in the service with this id before.

    >>> passed_through("a, b", "b"), passed_through("ab", "b"), passed_through("", "b"), passed_through("a, b", "")
    (True, False, False, False)
    >>> passed_through(", ".join("abcdefghijklmnopq"), "z")
    True
    """
    services = [service.strip() for service in via.split(",")] if via and instance_id else []
    return instance_id in services or len(services) > _MAX_SERVICES


def with_service(via: str, instance_id: str) -> str:
    """Return the header with one more service.

    >>> with_service("", "a"), with_service("a", "b"), with_service("a", "")
    ('a', 'a, b', 'a')
    """
    return ", ".join(filter(None, (via, instance_id)))
