"""``otel-ml doctor``: the same as ``python -m otel_ml doctor``, which needs no packages of the service."""

from __future__ import annotations

from otel_ml.doctor.command import configure as configure
