"""Grafana dashboards that follow the registries: ``otel-ml dashboards --out DIR``.

The plan (:mod:`.plan`, :mod:`.fleet`, :mod:`.model`, :mod:`.service`) needs nothing but the package itself;
:mod:`.grafana` gives it Grafana's types and needs the extra ``dashboards``.
"""

from collector_processor.generate.dashboards.boards import boards
from collector_processor.generate.dashboards.write import write_dashboards

__all__ = ["boards", "write_dashboards"]
