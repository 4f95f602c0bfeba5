"""The health check for load balancers and orchestrators."""

from __future__ import annotations

from typing import Final

from collector_processor.extensions.component import ExtensionComponent, ExtensionContext
from collector_processor.extensions.health_check.server import HealthServer
from collector_processor.extensions.health_check.settings import HealthCheckSettings


def _server(settings: HealthCheckSettings, context: ExtensionContext) -> HealthServer:
    return HealthServer(settings.endpoint, context.status, context.counts, context.telemetry, settings.http_limits())


HEALTH_CHECK: Final = ExtensionComponent("health_check", HealthCheckSettings, server=_server)
