"""Real servers for the end-to-end tests: started on free ports of this machine, ended by their process.

The fixtures (``conftest.py``) that tests use; everything under ``tests/e2e`` is marked ``e2e``:

``tools(name) -> str``
    Path of ``otelcol``, ``prometheus``, ``promtool``, ``jaeger``, ``telemetrygen`` or ``rotel`` (``make tools``); any
    other name is looked for on the PATH. Skips the test, saying what is missing.
``free_port() -> int``
    A port that nobody gets but the one who asked.
``stack: Stack``, ``module_stack: Stack``
    What starts servers, for one test or for all tests of a file. Their methods, also fixtures of these names:

    ``service(changes=None, **options) -> Service``
        ``otel-ml serve`` with :func:`service_settings` and the changes merged over them (a value replaces, ``None``
        removes a key). It has ``grpc``, ``http``, ``prometheus``, ``own``, ``health`` (ports; those that it listens
        on), ``value(metric, **labels)``, ``counted(own_metric, **labels)`` and ``samples(port)``. ``restart()`` starts
        it anew with the same ports and state.
    ``collector(*configs, env=None) -> Collector``
        The Collector with these files or mappings, merged in this order as it does itself, and then its own metrics
        and health on free ports. ``counted(own_metric, **labels)``; ``restart()``. The repository's own file:
        ``collector(COLLECTOR_FILE, listening(front), env={"OTEL_ML_ENDPOINT": …})``.
    ``prometheus(scrape={job: port, …}, rules=None, alertmanager=None, settings=None, flags=()) -> Prometheus``
        Prometheus 3 with OTLP ingestion, remote write and a scrape and evaluation interval of 200 ms. ``rules`` is the
        text of a rules file, ``settings`` is merged over the configuration. ``query(promql)``,
        ``wait_for(promql, accept=bool)``, ``get(path, **parameters)``, ``series()``; ``url``.
    ``jaeger() -> Jaeger``
        ``otlp`` (gRPC port), ``spans(service)``: every stored span.
    ``start(name, command, env=None, ready=None) -> Server``
        Any other server: ``ready`` is asked until it is true. ``log_text()``, ``wait(condition)``, ``stop()`` (SIGTERM,
        gives the exit code), ``kill()``.

``traffic.py`` has rows whose figures are known and sends them through the real SDK. A failing test shows the logs.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import yaml
from server import DEADLINE_S, ROOT, TOOLS, Labels, Server, Settings, free_port, merged, samples, tool, value_of, wait

__all__ = [
    "COLLECTOR_FILE", "DEADLINE_S", "ROOT", "TOOLS", "Collector", "Jaeger", "Labels", "Prometheus", "Server",
    "Service", "Settings", "Stack", "free_port", "listening", "merged", "samples", "service_settings", "tool",
    "value_of", "wait",
]  # fmt: skip


def service_settings(ports: Mapping[str, int], state: Path) -> dict[str, Any]:
    """Windows of 2000 rows, references learned from 1000, nothing forwarded, nothing kept."""
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"localhost:{ports['grpc']}"},
                    "http": {"endpoint": f"localhost:{ports['http']}"},
                }
            }
        },
        "connectors": {
            "ml_monitor": {
                "window": {"size": "2000 rows", "allowed_lateness": "1s", "min_rows": 100},
                "reference": {"learn": 1000},
            }
        },
        "exporters": {"prometheus": {"endpoint": f"localhost:{ports['prometheus']}"}},
        "extensions": {
            "health_check": {"endpoint": f"localhost:{ports['health']}"},
            "file_storage": {"directory": str(state), "interval": "1h"},
        },
        "service": {
            "extensions": ["health_check", "file_storage"],
            "telemetry": {"metrics": {"endpoint": f"localhost:{ports['own']}"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor"]},
                "logs": {"receivers": ["otlp"], "exporters": ["ml_monitor"]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus"]},
            },
        },
    }


class Service(Server):
    """``otel-ml serve``."""

    def __init__(self, directory: Path, changes: Settings, ports: Mapping[str, int], env: Mapping[str, str]) -> None:
        self.grpc, self.http = ports["grpc"], ports["http"]
        self.prometheus, self.own, self.health = ports["prometheus"], ports["own"], ports["health"]
        file = directory / "otel-ml.yaml"
        file.write_text(yaml.safe_dump(merged(service_settings(ports, directory / "state"), changes)))
        command = [sys.executable, "-m", "collector_processor", "serve", "--config", str(file)]
        super().__init__("otel-ml", command, directory, env, self._is_ready)

    def _is_ready(self) -> bool:
        return requests.get(f"http://localhost:{self.health}/", timeout=5).status_code == 200

    def samples(self, port: int | None = None) -> list[tuple[str, Labels, float]]:
        """What it serves to Prometheus; its own metrics with ``port=service.own``."""
        return samples(port or self.prometheus)

    def value(self, name: str, **labels: str) -> float | None:
        """Sum of the derived samples with these labels; ``None`` where there is none yet."""
        return value_of(self.samples(), name, labels)

    def counted(self, name: str, **labels: str) -> float:
        """Sum of its own samples with these labels; 0 where there is none yet."""
        return value_of(self.samples(self.own), name, labels) or 0.0


COLLECTOR_FILE = ROOT / "otel-collector.yaml"
"""The repository's file for a Collector in front of the service and behind it."""


def listening(front: int, back: int | None = None, http: int | None = None) -> dict[str, Any]:
    """What lets :data:`COLLECTOR_FILE` listen on these ports: for apps, for what otel-ml derives, for apps' HTTP."""
    apps, over_http = f"localhost:{front}", f"localhost:{http or free_port()}"
    return {
        "receivers": {
            "otlp": {"protocols": {"grpc": {"endpoint": apps}, "http": {"endpoint": over_http}}},
            "otlp/ml": {"protocols": {"grpc": {"endpoint": f"localhost:{back or free_port()}"}}},
        }
    }


class Collector(Server):
    """The OpenTelemetry Collector."""

    def __init__(
        self, binary: str, directory: Path, configs: tuple[Path | Settings, ...], env: Mapping[str, str]
    ) -> None:
        self.own, self.health = free_port(), free_port()
        self.arguments: list[str] = []
        for number, config in enumerate((*configs, self._own_settings(configs))):
            file = config if isinstance(config, Path) else directory / f"config-{number}.yaml"
            if not isinstance(config, Path):
                file.write_text(yaml.safe_dump(config))
            self.arguments.append(f"--config={file}")
        super().__init__("otelcol", [binary, *self.arguments], directory, env, self._is_ready)

    def _own_settings(self, configs: tuple[Path | Settings, ...]) -> Settings:
        # A later list replaces an earlier one, so what the files start is to be named again.
        loaded = [yaml.safe_load(config.read_text()) if isinstance(config, Path) else config for config in configs]
        extensions = [config["service"]["extensions"] for config in loaded if "extensions" in config.get("service", {})]
        reader = {"pull": {"exporter": {"prometheus": {"host": "localhost", "port": self.own}}}}
        return {
            "extensions": {"health_check/own": {"endpoint": f"localhost:{self.health}"}},
            "service": {
                "extensions": [*(extensions[-1] if extensions else ()), "health_check/own"],
                "telemetry": {"metrics": {"level": "normal", "readers": [reader]}},
            },
        }

    def _is_ready(self) -> bool:
        return requests.get(f"http://localhost:{self.health}/", timeout=5).status_code == 200

    def counted(self, name: str, **labels: str) -> float:
        """Sum of its own samples with these labels; 0 where there is none yet."""
        return value_of(samples(self.own), name, labels) or 0.0


class Prometheus(Server):
    """Prometheus 3, asked over its HTTP API."""

    def __init__(self, binary: str, directory: Path, config: Settings, rules: str | None, flags: Sequence[str]) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        file = directory / "prometheus.yml"
        (directory / "rules.yml").write_text(rules or "groups: []\n")
        file.write_text(yaml.safe_dump(config))
        command = [
            binary,
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=localhost:{self.port}",
            "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver",
            "--log.level=info",
            *flags,
        ]
        super().__init__("prometheus", command, directory, None, self._is_ready)

    def _is_ready(self) -> bool:
        return requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200

    def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an API answer."""
        query = urllib.parse.urlencode(parameters)
        answer = requests.get(f"{self.url}/api/v1/{path}?{query}", timeout=10).json()
        assert answer["status"] == "success", f"{path}?{query}: {json.dumps(answer)}"
        return answer["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The instant vector that an expression gives now: labels and value of each series."""
        return [(series["metric"], float(series["value"][1])) for series in self.get("query", query=promql)["result"]]

    def wait_for(self, promql: str, accept: Callable[[Any], object] = bool) -> list[tuple[dict[str, str], float]]:
        """Asks until the answer is accepted."""
        found: list[tuple[dict[str, str], float]] = []

        def accepted() -> object:
            found[:] = self.query(promql)
            return accept(found)

        try:
            self.wait(accepted)
        except AssertionError as error:
            raise AssertionError(f"{promql} gave {found}; {error}") from None
        return found


class Jaeger(Server):
    """Jaeger all-in-one, with its traces in memory."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.otlp, self.query, admin = free_port(), free_port(), free_port()
        ports = {
            "collector.otlp.grpc": self.otlp,
            "query.http-server": self.query,
            "admin.http": admin,
            "collector.otlp.http": free_port(),
            "collector.grpc-server": free_port(),
            "collector.http-server": free_port(),
            "query.grpc-server": free_port(),
        }
        command = [binary, *(f"--{name}.host-port=localhost:{port}" for name, port in ports.items())]
        self._health = f"http://localhost:{admin}/"
        super().__init__("jaeger", command, directory, None, self._is_ready)

    def _is_ready(self) -> bool:
        return requests.get(self._health, timeout=5).status_code == 200

    def spans(self, service: str) -> list[dict[str, Any]]:
        """Every stored span of a service, in Jaeger's own form (``spanID``, ``operationName``, ``tags``, …)."""
        url = f"http://localhost:{self.query}/api/traces"
        found = requests.get(url, {"service": service, "limit": "100000", "lookback": "1h"}, timeout=30).json()
        return [span for trace in found["data"] for span in trace["spans"]]


class Stack:
    """Starts servers, each in a folder of its own, and ends them all, the last one first."""

    def __init__(self, folder: Callable[[str], Path]) -> None:
        self._folder = folder
        self.servers: list[Server] = []

    def _add(self, server: Any) -> Any:
        self.servers.append(server)
        return server

    def start(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str] | None = None,
        ready: Callable[[], object] | None = None,
    ) -> Server:
        return self._add(Server(name, command, self._folder(name), env, ready))

    def service(
        self, changes: Settings | None = None, *, env: Mapping[str, str] | None = None, **ports: int
    ) -> Service:
        names = ("grpc", "http", "prometheus", "own", "health")
        given = {name: ports.get(name) or free_port() for name in names}
        return self._add(Service(self._folder("otel-ml"), changes or {}, given, env or {}))

    def collector(self, *configs: Path | Settings, env: Mapping[str, str] | None = None) -> Collector:
        return self._add(Collector(tool("otelcol"), self._folder("otelcol"), configs, env or {}))

    def prometheus(
        self,
        scrape: Mapping[str, int] | None = None,
        rules: str | None = None,
        alertmanager: int | None = None,
        settings: Settings | None = None,
        flags: Sequence[str] = (),
    ) -> Prometheus:
        config: dict[str, Any] = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"localhost:{port}"]}]}
                for job, port in (scrape or {}).items()
            ],
        }
        if alertmanager is not None:
            targets = [{"static_configs": [{"targets": [f"localhost:{alertmanager}"]}]}]
            config["alerting"] = {"alertmanagers": targets}
        config = merged(config, settings or {})
        return self._add(Prometheus(tool("prometheus"), self._folder("prometheus"), config, rules, flags))

    def jaeger(self) -> Jaeger:
        return self._add(Jaeger(tool("jaeger"), self._folder("jaeger")))

    def close(self) -> None:
        for server in reversed(self.servers):
            server.kill()

    def logs(self) -> Iterator[tuple[str, str]]:
        """Name and the end of the log of each server."""
        for server in self.servers:
            yield f"{server.name} ({server.log})", server.log_text(4_000)
