"""OpenMetrics text with exemplars on gauges, which Prometheus reads although OpenMetrics 1.0 has them on counters only.

``prometheus_client`` refuses to write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString


def openmetrics_text(families: Iterable[Family]) -> bytes:
    """Return families of gauges and counters as OpenMetrics text.

    >>> family = Family("drift", "distance", "gauge")
    >>> family.add_sample("drift", {"column": "age"}, 0.5, exemplar=Exemplar({"trace_id": "0af7"}, 0.5, 1.25))
    >>> print(openmetrics_text([family]).decode(), end="")
    # HELP drift distance
    # TYPE drift gauge
    drift{column="age"} 0.5 # {trace_id="0af7"} 0.5 1.25
    # EOF
    """
    return "".join(_lines(families)).encode()


def _lines(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        yield f"# HELP {family.name} {_escaped(family.documentation)}\n# TYPE {family.name} {family.type}\n"
        for sample in family.samples:
            stamp = "" if sample.timestamp is None else f" {sample.timestamp}"
            exemplar = "" if sample.exemplar is None else f" # {_exemplar(sample.exemplar)}"
            yield f"{sample.name}{_labels(sample.labels)} {floatToGoString(sample.value)}{stamp}{exemplar}\n"
    yield "# EOF\n"


def _exemplar(exemplar: Exemplar) -> str:
    stamp = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f"{_labels(exemplar.labels)} {floatToGoString(exemplar.value)}{stamp}"


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
