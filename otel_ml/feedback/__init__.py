"""A route that takes labels over HTTP, to be mounted in any ASGI or WSGI application.

>>> application = wsgi(token="s3cret-of-the-callers")
>>> answered = []
>>> _ = application({"REQUEST_METHOD": "GET", "PATH_INFO": "/feedback"}, lambda *answer: answered.append(answer[0]))
>>> answered
['405 Method Not Allowed']
"""

from __future__ import annotations

from otel_ml.feedback.asgi_app import asgi
from otel_ml.feedback.wsgi_app import wsgi

__all__ = ["asgi", "wsgi"]
