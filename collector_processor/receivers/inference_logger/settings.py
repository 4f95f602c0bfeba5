"""Settings of the inference logger's receiver."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from collector_processor.security.authentication import Authentication
from collector_processor.security.server_tls import ServerTls
from collector_processor.serving.settings import HttpListener
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Bytes, ClassName, Duration, Endpoint, is_local
from otel_ml.semconv import TASKS, Role, Task

OutputRole = Literal["class", "score", "scores", "value", "ignore"]
NAME_FIELDS: Final = ("service", "namespace", "component", "endpoint", "model")
_S: Final = 10**9
_MIB: Final = 2**20


def _template(text: str) -> str:
    """Return the text if it has known fields only.

    >>> _template("{namespace}/{service}")
    '{namespace}/{service}'
    """
    try:
        fields = [
            (name, spec or conversion)
            for _, name, spec, conversion in string.Formatter().parse(text)
            if name is not None
        ]
    except ValueError as error:
        raise ValueError(f"{text!r} is not a name with fields in braces: {error}") from error
    unknown = [name for name, more in fields if name not in NAME_FIELDS or more]
    if unknown or not fields:
        raise ValueError(
            f"{text!r}: write a name with one or more of: {', '.join(f'{{{name}}}' for name in NAME_FIELDS)}"
        )
    return text


class LoggedModel(Settings):
    """What the events of one model do not say of themselves."""

    features: tuple[str, ...] = Field(
        default=(),
        description="names of the columns, in order, where requests have lists or one matrix; else x0, x1, …",
    )
    outputs: OutputRole | dict[str, OutputRole] | None = Field(
        default=None,
        description="what the output is, or each output by name: class, score, scores (a column a class), value or "
        "ignore; default: integers and texts are a class, decimals a value, rows that add up to 1 scores",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(), description="names of the columns of scores, in order; else those of the sender, or 0, 1, …"
    )
    task: Task | None = Field(default=None, description="what the model predicts: " + ", ".join(TASKS))
    role: Role | None = Field(default=None, description="champion, challenger or shadow; default: champion")
    positive_class: ClassName = Field(default="", description="the class that a binary score is the probability of")
    threshold: float | None = Field(
        default=None,
        description="the positive class is predicted if its score is at least this; default: the likeliest",
    )


class Waiting(Settings):
    """How requests wait for their responses, and responses for their requests."""

    wait: Duration = Field(default=60 * _S, description="after this, an event without its other half is evicted")
    events: int = Field(default=10_000, ge=1, description="events that wait at once; beyond it the oldest is evicted")
    size: Bytes = Field(default=64 * _MIB, description="bytes of all events that wait; beyond it the oldest is evicted")


class ForwardTo(Settings):
    """Another sink for the same events, such as the one that the logger sent to before."""

    endpoint: str = Field(pattern=r"^https?://\S+$", description="URL that every event is posted to, as it came")
    timeout: Duration = Field(default=10 * _S, description="how long one post may take; it is not repeated")
    queue_size: int = Field(default=1000, ge=1, description="events that wait to be forwarded; new ones are dropped")
    queue_bytes: Bytes = Field(default=64 * _MIB, description="bytes of events that wait; new ones are dropped")
    connections: int = Field(default=4, ge=1, le=64, description="posts at once")


class InferenceLoggerSettings(HttpListener):
    """Receives inference events (CloudEvents) of KServe's and Seldon's logger."""

    endpoint: Endpoint = Field(default="localhost:8085", description="address to listen on; events may have any path")
    tls: ServerTls | None = Field(default=None, description="serve TLS")
    auth: Authentication | None = Field(default=None, description="who may send; anyone when absent")
    max_request_body_size: Bytes = Field(default=64 * _MIB, description="largest event, after decompression")
    read_timeout: Duration = Field(default=30 * _S, description="how long a whole body may take to arrive")
    pairs: Waiting = Field(default_factory=Waiting, description="requests and responses that wait for each other")
    components: tuple[str, ...] = Field(
        default=("predictor",),
        description="components of an InferenceService whose events count; an event without a component counts, too",
    )
    model_name: Annotated[str, AfterValidator(_template)] = Field(
        default="{service}",
        description="name of the model: {service}, {namespace}, {component}, {endpoint}, and {model}, the name in the "
        "response or in `ce-modelid`",
    )
    version_annotation: str = Field(
        default="",
        description="annotation of the InferenceService with the model's version, which the logger sends if "
        "`metadataAnnotations` names it; default: `model_version` of the response, or the endpoint if it is not "
        "`default`",
    )
    prediction_id: Literal["event", "body"] = Field(
        default="event", description="`event`: the id that joins request and response; `body`: the `id` of a V2 body"
    )
    event_times: bool = Field(
        default=False,
        description="the time from request to response is the latency, although the sender does not say that `ce-time` "
        "is when they happened (KServe does since 0.18)",
    )
    models: dict[str, LoggedModel] = Field(default_factory=dict, description="settings of single models, by name")
    forward_to: ForwardTo | None = Field(default=None, description="another sink for the same events")

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the address."""
        yield key, self.endpoint

    def sends(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the other sink: this address would be a loop."""
        if self.forward_to is not None:
            yield f"{key}.forward_to.endpoint", self.forward_to.endpoint

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line when tokens come in plain text."""
        if self.auth and not self.tls and not is_local(self.endpoint):
            yield f"{key}: takes tokens in plain text; set tls"
