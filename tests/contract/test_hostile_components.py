"""Components of other packages that misbehave: each is named with what is wrong, and the service stays in charge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field

from collector_processor.components import Registry
from collector_processor.config import Config, ConfigError, parse_config
from collector_processor.exporters.component import ExporterComponent
from collector_processor.exporters.debug.component import DEBUG
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.component import ExtensionComponent
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.receivers.component import ReceiverComponent
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.service.checks import check_setup
from collector_processor.service.run import Service, _started
from collector_processor.settings.base import Settings

CONFIGURATION = """
receivers: { otlp: { protocols: { http: { endpoint: "localhost:0" } } }, zed: }
connectors: { ml_monitor: }
exporters: { debug: }
extensions: { file_storage: { directory: DIRECTORY }, zed: }
service:
  telemetry: { metrics: { endpoint: "localhost:0" } }
  extensions: [file_storage, zed]
  pipelines:
    traces:  { receivers: [otlp, zed], exporters: [ml_monitor] }
    metrics: { receivers: [ml_monitor], exporters: [debug] }
"""


class ZedSettings(Settings):
    """Settings that are fine."""

    many: tuple[ZedPart, ...] = Field(default=(), description="parts")


class ZedPart(Settings):
    """A part with something to say."""

    def mistakes(self, key: str) -> Iterator[str]:
        yield f"{key}: wrong part"


class Zed:
    """A receiver and a server that does what its hooks say."""

    name = "zed"
    port = 0

    def __init__(self, on_start: Callable[[], Any] = lambda: None, on_stop: Callable[[], Any] = lambda: None) -> None:
        self._on_start, self._on_stop = on_start, on_stop


class ZedReceiver(Zed):
    async def start(self) -> None:
        await asyncio.sleep(self._on_start() or 0)

    async def stop(self, timeout_s: float) -> None:
        await asyncio.sleep(self._on_stop() or 0)


class ZedServer(Zed):
    def start(self) -> None:
        self._on_start()

    def stop(self) -> None:
        self._on_stop()


@pytest.fixture
def configured(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A configuration with a receiver and an extension of another package."""

    def make(receiver: object = None, server: object = None, settings: type[Settings] = ZedSettings) -> Config:
        one = ReceiverComponent("zed", settings, build=lambda *_: [receiver or ZedReceiver()])  # type: ignore[list-item]
        two = ExtensionComponent("zed", ZedSettings, server=lambda *_: server or ZedServer())  # type: ignore[arg-type,return-value]
        monkeypatch.setitem(RECEIVERS.components, "zed", one)  # type: ignore[arg-type]
        monkeypatch.setitem(EXTENSIONS.components, "zed", two)  # type: ignore[arg-type]
        return parse_config(CONFIGURATION.replace("DIRECTORY", str(tmp_path)))

    return make


def boom(*_: object) -> Any:
    raise RuntimeError("boom")


# --- registered ------------------------------------------------------------------------------------------------


class Point:
    """An entry point that gives an object, or raises."""

    dist = None

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name, self.value, self.load = name, f"zed:{name}", load


def leave() -> object:
    raise SystemExit("zed needs a license")


@pytest.mark.parametrize(
    ("load", "problem"),
    [
        (leave, "cannot be loaded: SystemExit: zed needs a license"),
        (boom, "cannot be loaded: RuntimeError: boom"),
        (lambda: replace(DEBUG, type="ze/d"), "'ze/d' is not a type"),
        (lambda: replace(DEBUG, type=""), "'' is not a type"),
        (lambda: replace(DEBUG, type="zed", aliases=("debug",)), "the exporter type 'debug' is taken"),
        (lambda: replace(DEBUG, type="zed", settings=int), "its settings are not a subclass of Settings"),
        (lambda: ExporterComponent("zed", ZedSettings), "takes neither measurements nor alerts nor originals"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_says_why(
    load: Callable[[], object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "collector_processor.components.registry.entry_points", lambda group: [Point("zed", load), Point("zed", boom)]
    )
    registry: Registry[Any] = Registry(ExporterComponent, (DEBUG,))
    assert list(registry.components) == ["debug"]
    assert problem in registry.broken["zed"]
    assert "RuntimeError: boom" in registry.broken["zed"]


def test_a_module_inside_a_package_that_is_missing_is_missing() -> None:
    component = replace(DEBUG, needs=("no_such_package.part",))
    assert list(component.missing("exporters.zed")) == ["exporters.zed: needs the package no_such_package.part"]


def test_parts_in_a_list_are_asked(configured: Callable[..., Config], tmp_path: Any) -> None:
    configured()
    text = CONFIGURATION.replace("DIRECTORY", str(tmp_path)).replace("zed: }\nconn", "zed: { many: [{}] } }\nconn")
    with pytest.raises(ConfigError, match=r"receivers\.zed\.many\.0: wrong part"):
        parse_config(text)


@pytest.mark.parametrize("question", ["mistakes", "problems", "listens"])
def test_settings_that_fail_are_named(configured: Callable[..., Config], question: str) -> None:
    settings = type("Failing", (ZedSettings,), {question: boom})
    with pytest.raises(ValueError, match=r"receivers\.zed: this component's settings failed: RuntimeError: boom"):
        check_setup(configured(settings=settings))


def test_an_exporter_without_measurements_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    component = replace(DEBUG, type="zed", measurements=None, originals=boom)
    monkeypatch.setitem(EXPORTERS.components, "zed", component)  # type: ignore[arg-type]
    text = CONFIGURATION.replace("debug", "zed").replace("extensions: [file_storage, zed]", "extensions: []")
    with pytest.raises(ConfigError, match="'zed' does not accept measurements from ml_monitor"):
        parse_config(text.replace("receivers: [otlp, zed]", "receivers: [otlp]").replace(", zed: }\nconn", " }\nconn"))


# --- run -------------------------------------------------------------------------------------------------------


def test_a_part_that_cannot_be_built_or_started_is_named(configured: Callable[..., Config]) -> None:
    config = configured()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECEIVERS.components, "zed", ReceiverComponent("zed", ZedSettings, build=boom))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"receivers\.zed: this component cannot be built: RuntimeError: boom"):
            Service(config)
    with pytest.raises(OSError, match="receiver zed cannot start: RuntimeError: boom"):
        asyncio.run(Service(configured(receiver=ZedReceiver(boom))).start())
    with pytest.raises(OSError, match=r"extensions\.zed cannot start: RuntimeError: boom"):
        asyncio.run(Service(configured(server=ZedServer(boom))).start())


def parts_that_stop_badly() -> Sequence[Any]:
    hang = threading.Event()
    return [
        pytest.param({"server": ZedServer(on_stop=boom)}, id="server-raises"),
        pytest.param({"server": ZedServer(on_stop=hang.wait)}, id="server-hangs"),
        pytest.param({"receiver": ZedReceiver(on_stop=boom)}, id="receiver-raises"),
        pytest.param({"receiver": ZedReceiver(on_stop=lambda: 3600)}, id="receiver-hangs"),
    ]


@pytest.mark.parametrize("parts", parts_that_stop_badly())
def test_a_part_that_stops_badly_costs_neither_the_drain_nor_the_state(
    configured: Callable[..., Config], tmp_path: Any, parts: dict[str, object]
) -> None:
    async def run() -> bool:
        service = Service(configured(**parts))
        await service.start()
        drained = await service.stop(1.0)
        assert service.telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "shutdown"})
        return drained

    assert asyncio.run(run())
    assert list(tmp_path.glob("state.snapshot"))


def test_a_start_that_hangs_can_be_stopped(configured: Callable[..., Config]) -> None:
    async def run() -> bool:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await _started(Service(configured(receiver=ZedReceiver(on_start=lambda: 3600))), stop)

    assert not asyncio.run(run())


def test_destinations_that_hang_at_the_end_are_left_behind(
    configured: Callable[..., Config], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(
        "collector_processor.exporters.debug.exporter.DebugExporter.shutdown", lambda *_: hang.wait(), raising=True
    )

    async def run() -> bool:
        service = Service(configured())
        await service.start()
        return await service.stop(1.0)

    assert asyncio.run(run())
    assert list(tmp_path.glob("state.snapshot"))


def test_receivers_stand_in_the_order_of_the_configuration(configured: Callable[..., Config]) -> None:
    assert [type(item).__name__ for item in Service(configured()).receivers] == ["HttpReceiver", "ZedReceiver"]
