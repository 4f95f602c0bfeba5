"""Writes the boards, and the files that provision them in Grafana, to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collector_processor.config import Config
from collector_processor.generate.dashboards.boards import boards
from collector_processor.generate.dashboards.plan import Traces
from collector_processor.own.install import install

PROVIDERS: Final = """\
# Copy this file to Grafana's provisioning/dashboards, and the JSON files to the folder in `path`.
apiVersion: 1
providers:
  - name: otel-ml
    folder: Machine learning
    type: file
    allowUiUpdates: true
    options:
      path: /var/lib/grafana/dashboards/otel-ml
"""
SOURCES: Final = """\
# Copy this file to Grafana's provisioning/datasources. Set PROMETHEUS_URL and TRACES_URL in Grafana's environment.
apiVersion: 1
datasources:
  - name: Prometheus
    uid: otel-ml-prometheus
    type: prometheus
    access: proxy
    url: $PROMETHEUS_URL
    jsonData:
      httpMethod: POST
      # Links each exemplar to its trace.
      exemplarTraceIdDestinations:
        - name: trace_id
          datasourceUid: otel-ml-traces
  - name: Traces
    uid: otel-ml-traces
    type: {traces}
    access: proxy
    url: $TRACES_URL
"""


def write_dashboards(folder: Path, config: Config | None = None, *, traces: Traces = "jaeger") -> Iterator[Path]:
    """Write one JSON file for each board, and the provisioning files, below ``folder``; yield each path once written.

    Raises ``OSError`` with the install command if the extra ``dashboards`` is not installed.
    """
    try:
        from collector_processor.generate.dashboards.grafana import to_json
    except (ImportError, AttributeError) as error:
        # Grafana's types need Python 3.11; on 3.10 the extra installs nothing.
        what = f"dashboards need grafana-foundation-sdk and Python 3.11 ({error})"
        raise OSError(f"{what}; install it with: {install('dashboards')}") from None
    texts = {f"{board.uid}.json": to_json(board) for board in boards(config, traces=traces)}
    texts["provisioning/dashboards/otel-ml.yaml"] = PROVIDERS
    texts["provisioning/datasources/otel-ml.yaml"] = SOURCES.replace("{traces}", traces)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path
