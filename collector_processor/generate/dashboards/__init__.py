"""Grafana dashboards that follow the registries: ``otel-ml dashboards --out DIR``.

The plan (:mod:`.plan`, :mod:`.fleet`, :mod:`.model`, :mod:`.service`) needs only the package itself; :mod:`.grafana`
converts it to Grafana's types and needs the extra ``dashboards``.
"""

from collector_processor.generate.dashboards.boards import boards
from collector_processor.generate.dashboards.write import write_dashboards

__all__ = ["boards", "write_dashboards"]
