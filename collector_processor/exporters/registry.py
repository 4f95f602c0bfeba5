"""All exporters, one line each."""

from __future__ import annotations

from typing import Any, Final

from collector_processor.components import Registry
from collector_processor.exporters.alertmanager.component import ALERTMANAGER
from collector_processor.exporters.apprise.component import APPRISE
from collector_processor.exporters.component import ExporterComponent
from collector_processor.exporters.debug.component import DEBUG
from collector_processor.exporters.otlp.component import OTLP_GRPC, OTLP_HTTP
from collector_processor.exporters.prometheus.component import PROMETHEUS

EXPORTERS: Final[Registry[ExporterComponent[Any]]] = Registry(
    ExporterComponent, (OTLP_GRPC, OTLP_HTTP, PROMETHEUS, DEBUG, ALERTMANAGER, APPRISE)
)
