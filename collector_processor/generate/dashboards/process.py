"""The row of the process that serves a model and of its machine: processor, memory, GPU, latency and errors together.

The metrics of other instrumentation have no model. What ties them to one is the resource: Prometheus makes ``job`` of
``service.name`` and ``instance`` of ``service.instance.id``, and gives both to every metric of the process. So each
panel shows the processes that made calls of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards.generic import ONE_MODEL, aggregated
from collector_processor.generate.dashboards.plan import RATE, Link, Panel, Query
from otel_ml import semconv

_PLACE: Final = ("job", "instance")
_LEGEND: Final = "{{job}} {{instance}}"
_ERROR: Final = label_name(semconv.ERROR_TYPE)
_MISSING: Final = (
    "no data: install opentelemetry-instrumentation-system-metrics in the application, and send its metrics here"
)
_NO_CALLS: Final = "no data: the application's own OpenTelemetry metrics are not in this Prometheus"
_NO_GPU: Final = "no data: no GPU, or no metrics hw.gpu.* or DCGM_* of it in this Prometheus"
_MEBIBYTE: Final = 1_048_576


def process_panels(catalog: Catalog, links: Sequence[Link]) -> tuple[Panel, ...]:
    """Return the panels of the row."""
    return tuple(_Process(catalog, tuple(links)).panels())


class _Process:
    def __init__(self, catalog: Catalog, links: tuple[Link, ...]) -> None:
        self._catalog = catalog
        self._links = links
        self._calls = catalog[semconv.METRIC_PREDICTION_DURATION].name

    def panels(self) -> Sequence[Panel]:
        """Return the panels in their order."""
        return (self._latency(), self._errors(), *self._of_process(), *self._of_machine(), *self._of_gpu())

    def _name(self, metric: str) -> str:
        return self._catalog[metric].name

    def _here(self, expr: str) -> str:
        """Return the part of an expression that is about processes with calls of the model."""
        return f"{expr} and on ({', '.join(_PLACE)}) {self._calls}_count{{{ONE_MODEL}}}"

    def _panel(self, title: str, text: str, exprs: Sequence[tuple[str, str]], unit: str, no_data: str) -> Panel:
        queries = tuple(Query(expr, legend) for expr, legend in exprs)
        return Panel(title, text, queries, unit, width=6, no_data=no_data, minimum=0, links=self._links)

    def _latency(self) -> Panel:
        rate = f"sum by (le, {', '.join(_PLACE)}) (rate({self._calls}_bucket{{{ONE_MODEL}}}[{RATE}]))"
        text = "95% of the calls in each process took at most this long."
        expr = f"histogram_quantile(0.95, {rate})"
        return self._panel("Duration of calls by process", text, [(expr, _LEGEND)], "s", _NO_CALLS)

    def _errors(self) -> Panel:
        calls, failed = (
            aggregated("sum", f"rate({self._calls}_count{{{ONE_MODEL}{also}}}[{RATE}])", _PLACE)
            for also in ("", f',{_ERROR}!=""')
        )
        expr = f"({failed} or {calls} * 0) / ({calls} > 0)"
        text = "Share of the calls in each process that raised an error."
        return self._panel("Failed calls by process", text, [(expr, _LEGEND)], "percentunit", _NO_CALLS)

    def _of_process(self) -> tuple[Panel, ...]:
        cores = aggregated("sum", f"rate({self._name('process.cpu.time')}[{RATE}])", _PLACE)
        memory = aggregated("max", self._name("process.memory.usage"), _PLACE)
        return (
            self._panel(
                "Processor of the process",
                "Processor time per second: 1 is one core in full use.",
                [(self._here(cores), _LEGEND)],
                "short",
                _MISSING,
            ),
            self._panel(
                "Memory of the process",
                "Resident memory of each process that serves the model.",
                [(self._here(memory), _LEGEND)],
                "bytes",
                _MISSING,
            ),
        )

    def _of_machine(self) -> tuple[Panel, ...]:
        time, memory = self._name("system.cpu.time"), self._name("system.memory.usage")
        idle, every = (
            aggregated("sum", f"rate({time}{states}[{RATE}])", _PLACE) for states in ('{state=~"idle|iowait"}', "")
        )
        used, whole = (aggregated("sum", f"{memory}{states}", _PLACE) for states in ('{state="used"}', ""))
        return (
            self._panel(
                "Processor of the machine",
                "Share of the processor time of the machine that is in use, by whichever process.",
                [(self._here(f"1 - {idle} / {every}"), _LEGEND)],
                "percentunit",
                _MISSING,
            ),
            self._panel(
                "Memory of the machine",
                "Share of the memory of the machine that is in use, by whichever process.",
                [(self._here(f"{used} / {whole}"), _LEGEND)],
                "percentunit",
                _MISSING,
            ),
        )

    def _of_gpu(self) -> tuple[Panel, ...]:
        plain, ratio = self._name("hw.gpu.utilization/plain"), self._name("hw.gpu.utilization")
        names = f"{_LEGEND} {{{{hw_id}}}}"
        by_id = (*_PLACE, "hw_id")
        used = self._here(f"({aggregated('max', ratio, by_id)} or {aggregated('max', plain, by_id)})")
        memory = self._here(aggregated("max", self._name("hw.gpu.memory.usage"), by_id))
        text = "From hw.gpu.* of the process, or from NVIDIA's DCGM exporter on the machine that target_info names."
        return (
            self._panel(
                "GPU",
                f"Share of the time in which a GPU works. {text}",
                [(used, names), *self._dcgm(f"{self._name('DCGM_FI_DEV_GPU_UTIL')} / 100")],
                "percentunit",
                _NO_GPU,
            ),
            self._panel(
                "Memory of the GPU",
                f"Memory of a GPU that is in use. {text}",
                [(memory, names), *self._dcgm(f"{self._name('DCGM_FI_DEV_FB_USED')} * {_MEBIBYTE}")],
                "bytes",
                _NO_GPU,
            ),
        )

    def _dcgm(self, expr: str) -> Sequence[tuple[str, str]]:
        """Return the GPUs of the machines on which processes of the model run, by host and by node."""
        info = self._here(self._name("target_info"))
        return [
            (
                f'label_replace({expr}, "{label}", "$1", "Hostname", "(.+)") and on ({label}) ({info})',
                "{{Hostname}} {{gpu}}",
            )
            for label in ("host_name", "k8s_node_name")
        ]
