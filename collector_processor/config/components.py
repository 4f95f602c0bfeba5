"""The settings of every component; each key's meaning and default stand here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from collector_processor.config.auth import Authentication, ClientTls, ServerTls
from collector_processor.config.settings import Settings
from collector_processor.config.values import Bytes, Destination, Duration, Endpoint, Extent, Rows, WindowExtent
from otel_ml.semconv import TASKS, Task

_MINUTE_NS = 60 * 10**9


class GrpcProtocol(Settings):
    """OTLP over gRPC."""

    endpoint: Endpoint = Field(default="localhost:4317", description="address to listen on")
    max_recv_msg_size: Bytes = Field(default=64 * 2**20, description="largest request, after decompression")
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may send; anyone when absent")


class HttpProtocol(Settings):
    """OTLP over HTTP, protobuf and JSON."""

    endpoint: Endpoint = Field(default="localhost:4318", description="address to listen on")
    max_request_body_size: Bytes = Field(default=64 * 2**20, description="largest request, after decompression")
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may send; anyone when absent")


def _none_is_default(value: object) -> object:
    return {} if value is None else value


class OtlpProtocols(Settings):
    """Which protocols to serve; ``grpc:`` alone means its defaults."""

    grpc: Annotated[GrpcProtocol | None, BeforeValidator(_none_is_default)] = Field(
        default=None, description="OTLP/gRPC"
    )
    http: Annotated[HttpProtocol | None, BeforeValidator(_none_is_default)] = Field(
        default=None, description="OTLP/HTTP"
    )

    @model_validator(mode="after")
    def _some(self) -> OtlpProtocols:
        if self.grpc is None and self.http is None:
            raise ValueError("name at least one protocol: grpc, http")
        return self


class OtlpReceiver(Settings):
    """Receives OTLP traces, logs and metrics."""

    protocols: OtlpProtocols = Field(
        default_factory=lambda: OtlpProtocols(grpc=GrpcProtocol(), http=HttpProtocol()), description="what to serve"
    )


class WindowConfig(Settings):
    """Over which stretch of traffic statistics are taken."""

    size: WindowExtent = Field(default=Extent(ns=60 * _MINUTE_NS), description="length: a duration, or `5000 rows`")
    every: WindowExtent | None = Field(
        default=None, description="how often a window closes; default a minute, or a whole window of rows"
    )
    allowed_lateness: Duration = Field(default=10 * _MINUTE_NS, description="how late a row may come and still count")
    min_rows: int = Field(default=500, ge=1, description="drift is judged from this many rows on")
    min_labels: int = Field(default=50, ge=1, description="performance is reported from this many labels on")

    @property
    def step(self) -> Extent:
        """How often a window closes, the default filled in."""
        if self.every is not None:
            return self.every
        return Extent(rows=self.size.rows) if self.size.rows else Extent(ns=min(_MINUTE_NS, self.size.ns))

    @model_validator(mode="after")
    def _fits(self) -> WindowConfig:
        size, step = self.size, self.step
        if not (size.ns or size.rows) or not (step.ns or step.rows):
            raise ValueError("size and every must be greater than 0")
        if bool(size.rows) != bool(step.rows):
            raise ValueError("size and every must both be durations or both be rows")
        if (size.rows or size.ns) % (step.rows or step.ns):
            raise ValueError("size must be a multiple of every")
        if (size.rows or size.ns) // (step.rows or step.ns) > 10_000:
            raise ValueError("size may hold at most 10000 times every")
        if step.ns and self.allowed_lateness > 10_000 * step.ns:
            raise ValueError("allowed_lateness may be at most 10000 times every")
        return self


class LabelsConfig(Settings):
    """How long and how many predictions wait for their label."""

    wait: Duration = Field(default=7 * 24 * 60 * _MINUTE_NS, description="a label that comes later is not joined")
    capacity: int = Field(default=10_000_000, ge=1, description="predictions waiting at once, all models together")


class LearnConfig(Settings):
    """How references are learned when none is given."""

    learn: Rows = Field(default=5000, ge=100, description="rows that a model's reference is learned from")


class DriftConfig(Settings):
    """Which drift methods run and when they breach."""

    numeric: tuple[str, ...] = Field(
        default=("psi", "js", "ks", "wasserstein"), description="methods for numeric columns"
    )
    categorical: tuple[str, ...] = Field(default=("psi", "js", "l_infinity"), description="methods for categories")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="threshold by method, instead of its default"
    )
    alpha: float = Field(
        default=0.001, gt=0, lt=1, description="false alarms tolerated; small windows get higher thresholds"
    )


class LimitsConfig(Settings):
    """What bounds memory; what goes beyond is counted."""

    models: int = Field(default=1000, ge=1, description="model versions")
    features: int = Field(default=2000, ge=1, description="features of one model")
    categories: int = Field(default=1000, ge=1, description="categories of one feature")
    classes: int = Field(default=100, ge=2, description="classes of one model")
    segment_values: int = Field(default=50, ge=1, description="values of one segment")
    series: int = Field(default=100_000, ge=1, description="series held by the Prometheus endpoint")
    journal: Bytes = Field(default=256 * 2**20, description="bytes of requests that wait to be read")
    memory: Bytes | None = Field(
        default=None,
        description="resident memory above which requests are refused, retryably; when absent 80 % of the container's "
        "limit, or of the machine's memory",
    )


class ModelConfig(Settings):
    """What is known about one model (by name; all its versions)."""

    reference: Path | None = Field(
        default=None, description="reference profile; learned from the first rows when absent"
    )
    task: Task | None = Field(
        default=None, description=" | ".join(TASKS) + "; told by the spans or the outputs when absent"
    )
    positive_class: str = Field(default="", description="the class that precision, recall and the score speak of")
    segments: tuple[str, ...] = Field(default=(), max_length=8, description="segments to report on")
    categorical: tuple[str, ...] = Field(
        default=(), description="features to take as categories, though they are numbers"
    )
    window: WindowConfig | None = Field(default=None, description="instead of the connector's")
    drift: DriftConfig | None = Field(default=None, description="instead of the connector's")


class MlMonitor(Settings):
    """The connector: predictions and labels in, measurements out."""

    window: WindowConfig = Field(default_factory=WindowConfig, description="windows")
    labels: LabelsConfig = Field(default_factory=LabelsConfig, description="the label join")
    reference: LearnConfig = Field(default_factory=LearnConfig, description="learning references")
    drift: DriftConfig = Field(default_factory=DriftConfig, description="drift")
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="limits")
    models: dict[str, ModelConfig] = Field(default_factory=dict, description="settings by model name")


class RetryConfig(Settings):
    """Retries of an exporter."""

    enabled: bool = Field(default=True, description="retry at all")
    initial_interval: Duration = Field(default=5 * 10**9, description="first wait")
    multiplier: float = Field(default=1.5, ge=1, description="growth of the wait")
    max_interval: Duration = Field(default=30 * 10**9, description="longest wait")
    max_elapsed_time: Duration = Field(default=300 * 10**9, description="give up after this")


class QueueConfig(Settings):
    """The queue before an exporter of measurements."""

    queue_size: int = Field(default=1000, ge=1, description="sets of measurements that may wait")


class OtlpExporter(Settings):
    """Sends measurements, and the originals of its pipelines, to an OTLP endpoint."""

    endpoint: Destination = Field(description="gRPC: host:port; HTTP: base URL, /v1/… is appended")
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS")
    auth: Authentication | None = Field(default=None, description="sends a bearer token")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers; values are never printed")
    compression: Literal["none", "gzip"] | None = Field(
        default=None, description="none | gzip; when absent originals go as they came, measurements with gzip"
    )
    timeout: Duration = Field(default=5 * 10**9, description="of one try")
    temporality: Literal["cumulative", "delta"] = Field(
        default="cumulative", description="of counters; Datadog likes delta"
    )
    timestamps: Literal["emitted", "window_end"] = Field(
        default="emitted", description="of gauges: when their window was closed, or when it ended; see the conventions"
    )
    retry_on_failure: RetryConfig = Field(default_factory=RetryConfig, description="retries")
    sending_queue: QueueConfig = Field(default_factory=QueueConfig, description="queue of measurements")


class PrometheusExporter(Settings):
    """Serves measurements for Prometheus to scrape."""

    endpoint: Endpoint = Field(default="localhost:9464", description="address to listen on")
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    metric_expiration: Duration | None = Field(
        default=None,
        description="a series without news goes after this; default: three windows and the allowed lateness, at least "
        "`5m`, and `7d` where windows are cut by rows",
    )


class DebugExporter(Settings):
    """Prints measurements."""

    verbosity: Literal["basic", "detailed"] = Field(default="basic", description="basic | detailed")


class HealthCheck(Settings):
    """Answers 200 while the service is up."""

    endpoint: Endpoint = Field(default="localhost:13133", description="address to listen on")


class FileStorage(Settings):
    """Keeps the state across restarts."""

    directory: Path = Field(description="folder for snapshots and learned references")
    interval: Duration = Field(default=_MINUTE_NS, description="how often a snapshot is written")

    @field_validator("interval")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < 10**8:
            raise ValueError("must be at least 100ms; 1m is usual")
        return value


Exporter = OtlpExporter | PrometheusExporter | DebugExporter
