"""Modules whose doctests cannot run on this interpreter: what they need is not for it, or was not compiled."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

collect_ignore: list[str] = ["otel_ml/instrumentation", "otel_ml/sized_exporter.py"]  # former names: they warn
if find_spec("grafana_foundation_sdk") is None:  # it needs Python 3.11
    collect_ignore += [
        "collector_processor/generate/dashboards/grafana.py",
        "collector_processor/generate/rules/grafana.py",
    ]
if not any(
    (Path(__file__).parent / f"collector_processor/decode/compiled/wire{end}").exists() for end in EXTENSION_SUFFIXES
):
    collect_ignore.append("collector_processor/decode/compiled/decoder.py")
