"""Decides the options of the instrumentation: arguments (:class:`Config`), then ``OTEL_ML_*`` variables, then defaults.

A bad argument raises at once and lists the valid values. A bad variable must not break the application: it is logged,
and if it concerns what may leave the process, no feature is captured at all.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Literal, TypeVar, get_args

from otel_ml.encode.rules import HASH_DIGITS
from otel_ml.encode.scalar import clean_text
from otel_ml.problems import report

_logger = logging.getLogger(__name__)

ENV_ENABLED: Final = "OTEL_ML_ENABLED"
ENV_CAPTURE_FEATURES: Final = "OTEL_ML_CAPTURE_FEATURES"
ENV_FEATURES_ALLOW: Final = "OTEL_ML_FEATURES_ALLOW"
ENV_FEATURES_DENY: Final = "OTEL_ML_FEATURES_DENY"
ENV_FEATURES_HASH: Final = "OTEL_ML_FEATURES_HASH"
ENV_HASH_SALT: Final = "OTEL_ML_HASH_SALT"
ENV_FEATURES_BUCKET: Final = "OTEL_ML_FEATURES_BUCKET"
ENV_REFERENCE: Final = "OTEL_ML_REFERENCE"
ENV_MODEL_NAME: Final = "OTEL_ML_MODEL_NAME"
ENV_MODEL_VERSION: Final = "OTEL_ML_MODEL_VERSION"
ENV_MAX_SPAN_BYTES: Final = "OTEL_ML_MAX_SPAN_BYTES"
ENV_FOLLOW_SAMPLER: Final = "OTEL_ML_FOLLOW_SAMPLER"
ENV_MAX_FEATURES: Final = "OTEL_ML_MAX_FEATURES"
ENV_EXPLAIN: Final = "OTEL_ML_EXPLAIN"
ENV_PREDICTION_ID_HEADER: Final = "OTEL_ML_PREDICTION_ID_HEADER"
ENV_EMIT: Final = "OTEL_ML_EMIT"
ENV_FEEDBACK_TOKEN: Final = "OTEL_ML_FEEDBACK_TOKEN"  # noqa: S105 - the name of a variable, read by the feedback route
ENV_FEEDBACK_TOKEN_FILE: Final = "OTEL_ML_FEEDBACK_TOKEN_FILE"  # noqa: S105 - as above

DEFAULT_MAX_SPAN_BYTES: Final = 1024 * 1024
DEFAULT_MAX_FEATURES: Final = 2000
"""Features of one model that leave the process, and that the service watches unless it is configured otherwise."""
DEFAULT_MAX_STRING_CHARS: Final = 256
DEFAULT_EXPLAIN: Final = 100
"""Of this many predictions one is explained by an explainer that is passed to the model."""
DEFAULT_MAX_FLAT_FEATURES: Final = 64
MIN_SPAN_BYTES: Final = 4096
MAX_ATTRIBUTES: Final = 128
"""Attributes that a span holds; beyond that, the SDK drops the oldest."""
ATTRIBUTE_ROOM: Final = MAX_ATTRIBUTES - 24
"""Of those, what features, segments and attributions may use together; the rest is for identity, outputs and what the
application itself sets on the span."""

Emit = Literal["spans", "columnar"]
EMITS: Final[tuple[Emit, ...]] = get_args(Emit)
"""How calls of one row leave: each as its span, or many in one."""

_PREFIX: Final = "OTEL_ML_"
_PRIVATE: Final = (
    ENV_ENABLED,
    ENV_CAPTURE_FEATURES,
    ENV_FEATURES_ALLOW,
    ENV_FEATURES_DENY,
    ENV_FEATURES_HASH,
    ENV_HASH_SALT,
    ENV_FEATURES_BUCKET,
)
"""Variables that keep something inside the process."""
_OTHERS: Final = (
    ENV_REFERENCE,
    ENV_MODEL_NAME,
    ENV_MODEL_VERSION,
    ENV_MAX_SPAN_BYTES,
    ENV_FOLLOW_SAMPLER,
    ENV_MAX_FEATURES,
    ENV_EXPLAIN,
    ENV_PREDICTION_ID_HEADER,  # read by the instrumentors of web frameworks
    ENV_EMIT,
    "OTEL_ML_SKLEARN_METHODS",  # read by the instrumentor
    "OTEL_ML_DECODER",  # read by the service
    ENV_FEEDBACK_TOKEN,
    ENV_FEEDBACK_TOKEN_FILE,
)
_PRIVATE_WORDS: Final = re.compile(
    "FEATUR|CAPTUR|DENY|DENI|ALLOW|HASH|SALT|BUCKET|MASK|REDACT|PRIVA|PII|HIDE|SCRUB|ANONYM|EXCLUD|BLOCK|ENABL|DISAB"
)
_SERVICE_LINK: Final = re.compile(r"_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
"""What Kubernetes adds to every container of a namespace for a Service called ``otel-ml…``."""
_CLOSE: Final = 0.85
"""Similarity from which on a name is a misspelling."""

_MOST_EXPLAIN: Final = 1_000_000
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options for one :class:`~otel_ml.Model`; an option that is ``None`` comes from its variable, else its default.

    - ``enabled`` (``OTEL_ML_ENABLED``, true): false makes every call a no-op.
    - ``capture_features`` (``OTEL_ML_CAPTURE_FEATURES``, true): false keeps features and attributions inside the
      process, and also segments taken from features; predictions, scores and identity are still emitted.
    - ``features_allow`` (``OTEL_ML_FEATURES_ALLOW``, all): only these features leave. Names or glob patterns,
      comma-separated in the variable; likewise below.
    - ``features_deny`` (``OTEL_ML_FEATURES_DENY``): these never leave, even if the allow list names them.
    - ``features_hash`` (``OTEL_ML_FEATURES_HASH``): these leave as 16 hex digits of HMAC-SHA256 keyed with
      ``hash_salt`` (``OTEL_ML_HASH_SALT``), so that categories can be distinguished but not read.
    - ``features_bucket`` (``OTEL_ML_FEATURES_BUCKET``, ``age=10,income=1000``): these leave rounded down to a
      multiple of the width.
    - ``reference`` (``OTEL_ML_REFERENCE``): path of a reference profile; turns on the
      ``ml.feature.observations`` metric.
    - ``max_span_bytes`` (``OTEL_ML_MAX_SPAN_BYTES``, 1048576): a batch is split into spans of about this payload.
    - ``follow_sampler`` (``OTEL_ML_FOLLOW_SAMPLER``, false): true sends a prediction or label only if its trace is
      sampled; by default all are sent, and the application's own spans are sampled as before.
    - ``max_features`` (``OTEL_ML_MAX_FEATURES``, 2000): of more features, the first leave; as many as the service
      watches by default (``limits.features``).
    - ``explain`` (``OTEL_ML_EXPLAIN``, off): ``1 in 100`` sends attributions of one prediction in 100, chosen by a hash
      of its id; a model that is given an ``explainer`` does so by default. ``off`` explains none.
    - ``emit`` (``OTEL_ML_EMIT``, ``spans``): ``columnar`` gathers calls of one row and sends many in one span, once a
      second or every thousand rows; a call then costs its thread a third.
    - ``max_string_chars`` (256, at least 16): longer texts are truncated.
    - ``max_flat_features`` (64): a row with more features travels as one map attribute.

    A rule for a key applies to the feature, the segment and the attribution of that name; the allow list and
    ``capture_features`` do not apply to segments passed explicitly to ``predict`` or ``record``.

    >>> Config(features_bucket={"age": 0})
    Traceback (most recent call last):
    ...
    ValueError: features_bucket: width of 'age' is 0, it must be a finite number above 0
    """

    enabled: bool | None = None
    capture_features: bool | None = None
    features_allow: Collection[str] | None = None
    features_deny: Collection[str] | None = None
    features_hash: Collection[str] | None = None
    hash_salt: str | None = field(default=None, repr=False)
    features_bucket: Mapping[str, float] | None = None
    reference: str | os.PathLike[str] | None = None
    max_span_bytes: int | None = None
    max_string_chars: int | None = None
    max_flat_features: int | None = None
    follow_sampler: bool | None = None
    max_features: int | None = None
    explain: str | int | None = None
    emit: Emit | None = None

    def __post_init__(self) -> None:
        for name in ("features_allow", "features_deny", "features_hash"):
            _check_patterns(name, getattr(self, name))
        if self.features_bucket is not None:
            _check_widths(self.features_bucket, "features_bucket: ")
        _check_at_least("max_span_bytes", self.max_span_bytes, MIN_SPAN_BYTES)
        _check_at_least("max_string_chars", self.max_string_chars, HASH_DIGITS)
        _check_at_least("max_flat_features", self.max_flat_features, 0)
        _check_at_least("max_features", self.max_features, 1)
        if self.emit is not None and self.emit not in EMITS:
            raise ValueError(f"emit {self.emit!r} is unknown; allowed: {', '.join(EMITS)}")
        if self.explain is not None:
            try:
                parse_explain(str(self.explain))
            except ValueError as error:
                raise ValueError(f"explain: {error}") from None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every option with its final value, from :func:`resolve`."""

    enabled: bool = True
    capture_features: bool = True
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    salt: str = field(default="", repr=False)
    widths: Mapping[str, float] = field(default_factory=dict[str, float])
    reference: str | None = None
    reference_from_environment: bool = False
    max_span_bytes: int = DEFAULT_MAX_SPAN_BYTES
    max_string_chars: int = DEFAULT_MAX_STRING_CHARS
    max_flat_features: int = DEFAULT_MAX_FLAT_FEATURES
    follow_sampler: bool = False
    max_features: int = DEFAULT_MAX_FEATURES
    explain: int | None = None
    """Of this many predictions one is explained; 0 for none, None where nothing was set."""
    emit: Emit = "spans"


def identity(name: str | None, version: str, environ: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the name and version of a model: the arguments, else from the environment.

    >>> identity(None, "", {"OTEL_ML_MODEL_NAME": "fraud", "OTEL_ML_MODEL_VERSION": "7"})
    ('fraud', '7')
    """
    env = os.environ if environ is None else environ
    if name is None:
        name = env.get(ENV_MODEL_NAME, "").strip()
    if not name:
        raise ValueError(f"a model needs a name: Model('fraud'), or {ENV_MODEL_NAME} in the environment")
    version = str(version) or env.get(ENV_MODEL_VERSION, "").strip()
    return clean_text(str(name), DEFAULT_MAX_STRING_CHARS), clean_text(version, DEFAULT_MAX_STRING_CHARS)


def resolve(
    config: Config | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    reference: str | os.PathLike[str] | None = None,
) -> Settings:
    """Decide every option: argument, else variable, else default; ``reference`` overrides that of ``config``.

    Raises :class:`ValueError` for arguments that contradict each other (a hash list without a salt). A bad variable
    is logged as an error; if it concerns privacy, feature capture is turned off.

    >>> resolve(Config(features_deny=["ssn"]), {"OTEL_ML_CAPTURE_FEATURES": "false"}).capture_features
    False
    """
    chosen = config or Config()
    env = _Environment(os.environ if environ is None else environ)
    hashed = _tuple(chosen.features_hash)
    salt = chosen.hash_salt if chosen.hash_salt is not None else env.text(ENV_HASH_SALT)
    if hashed and not salt:
        raise ValueError(f"features_hash needs a salt: pass hash_salt=… or set {ENV_HASH_SALT}")
    if hashed is None:
        hashed = env.patterns(ENV_FEATURES_HASH)
        if hashed and not salt:
            env.reject(ENV_FEATURES_HASH, f"needs a salt in {ENV_HASH_SALT}", private=True)
    allow = _tuple(chosen.features_allow)
    reference = chosen.reference if reference is None else reference
    path = None if reference is None else os.fspath(reference)
    settings = Settings(
        enabled=_first(chosen.enabled, lambda: env.switch(ENV_ENABLED), True),
        capture_features=_first(chosen.capture_features, lambda: env.switch(ENV_CAPTURE_FEATURES), True),
        allow=env.patterns(ENV_FEATURES_ALLOW) if allow is None else allow,
        deny=_first(_tuple(chosen.features_deny), lambda: env.patterns(ENV_FEATURES_DENY), ()),
        hashed=hashed or (),
        salt=salt or "",
        widths=_first(chosen.features_bucket, lambda: env.widths(ENV_FEATURES_BUCKET), {}),
        reference=path or env.text(ENV_REFERENCE),
        reference_from_environment=path is None,
        max_span_bytes=_first(
            chosen.max_span_bytes, lambda: env.whole(ENV_MAX_SPAN_BYTES, MIN_SPAN_BYTES), DEFAULT_MAX_SPAN_BYTES
        ),
        max_string_chars=_first(chosen.max_string_chars, lambda: None, DEFAULT_MAX_STRING_CHARS),
        max_flat_features=_first(chosen.max_flat_features, lambda: None, DEFAULT_MAX_FLAT_FEATURES),
        max_features=_first(chosen.max_features, lambda: env.whole(ENV_MAX_FEATURES, 1), DEFAULT_MAX_FEATURES),
        follow_sampler=_first(chosen.follow_sampler, lambda: env.switch(ENV_FOLLOW_SAMPLER, private=False), False),
        emit=_first(chosen.emit, env.emit, "spans"),
        explain=env.explain() if chosen.explain is None else parse_explain(str(chosen.explain)),
    )
    env.reject_unknown()
    return _private(settings) if env.private else settings


def misspelt(name: str) -> tuple[str | None, bool] | None:
    """Return what a variable that does not exist probably means, and whether it matters for privacy.

    None if the variable exists, or is not ours.

    >>> misspelt("OTEL_ML_FEATURES_DENI"), misspelt("OTEL_ML_HIDE_COLUMNS"), misspelt("OTEL_ML_MODEL_NAM")
    (('OTEL_ML_FEATURES_DENY', True), (None, True), ('OTEL_ML_MODEL_NAME', False))
    >>> misspelt("OTEL_ML_FEATURES_DENY"), misspelt("OTEL_SERVICE_NAME"), misspelt("OTEL_FEATURES_DENY")
    (None, None, ('OTEL_ML_FEATURES_DENY', True))
    """
    known = (*_PRIVATE, *_OTHERS)
    plain = name.strip().upper().replace("-", "_")
    if name in known or not plain.startswith("OTEL") or _SERVICE_LINK.search(name):
        return None
    meant = next(iter(get_close_matches(plain, known, 1, _CLOSE)), None)
    if meant is None and not plain.startswith(_PREFIX):
        return None
    return meant, meant in _PRIVATE if meant else _PRIVATE_WORDS.search(plain) is not None


def _private(settings: Settings) -> Settings:
    # Denying every key also covers explicit segments, attributions and the observation counts.
    return Settings(
        enabled=settings.enabled,
        capture_features=False,
        deny=("*",),
        max_span_bytes=settings.max_span_bytes,
        max_string_chars=settings.max_string_chars,
        max_flat_features=settings.max_flat_features,
        follow_sampler=settings.follow_sampler,
        max_features=settings.max_features,
        explain=0,
        emit=settings.emit,
    )


class _Environment:
    """Reads variables; a bad one is logged, and sets ``private`` if it matters for privacy."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.private = False

    def reject(self, name: str, why: str, *, private: bool) -> None:
        consequence = "no feature is captured" if private else "the default is used"
        _logger.error("%s: %s; %s", name, why, consequence)
        self.private = self.private or private

    def reject_unknown(self) -> None:
        """Report variables that do not exist: one that was to keep features inside must not leak them."""
        for name in self._environ:
            guess = misspelt(name)
            if guess is not None:
                meant, private = guess
                hint = f"; did you mean {meant}?" if meant else f"; there are {', '.join((*_PRIVATE, *_OTHERS))}"
                self.private = self.private or private
                consequence = "until it is corrected, no feature is captured" if private else "it has no effect"
                report(f"variable {name}", "%s: no such variable, %s%s", name, consequence, hint)

    def text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def switch(self, name: str, *, private: bool = True) -> bool | None:
        raw = self.text(name)
        if raw is None:
            return None
        if raw.lower() in _TRUE | _FALSE:
            return raw.lower() in _TRUE
        self.reject(name, f"{raw!r} is not a switch; allowed: true, false, 1, 0, yes, no, on, off", private=private)
        return None

    def emit(self) -> Emit | None:
        raw = (self.text(ENV_EMIT) or "").lower()
        if raw and raw not in EMITS:
            self.reject(ENV_EMIT, f"{raw!r} is unknown; allowed: {', '.join(EMITS)}", private=False)
        return raw if raw in EMITS else None

    def patterns(self, name: str) -> tuple[str, ...] | None:
        raw = self.text(name)
        return None if raw is None else tuple(part.strip() for part in raw.split(",") if part.strip())

    def widths(self, name: str) -> dict[str, float] | None:
        raw = self.text(name)
        if raw is None:
            return None
        try:
            return parse_widths(raw)
        except ValueError as error:
            self.reject(name, str(error), private=True)
            return None

    def explain(self) -> int | None:
        raw = self.text(ENV_EXPLAIN)
        if raw is None:
            return None
        try:
            return parse_explain(raw)
        except ValueError as error:
            self.reject(ENV_EXPLAIN, str(error), private=False)
            return None

    def whole(self, name: str, least: int) -> int | None:
        raw = self.text(name)
        if raw is None:
            return None
        if raw.isdecimal() and int(raw) >= least:
            return int(raw)
        self.reject(name, f"{raw!r} is not a whole number of at least {least}", private=False)
        return None


def parse_explain(text: str) -> int:
    """Read of how many predictions one is explained, 0 for none.

    >>> parse_explain("1 in 100"), parse_explain("20"), parse_explain("off")
    (100, 20, 0)
    >>> parse_explain("1%")
    Traceback (most recent call last):
    ...
    ValueError: '1%' is neither a share such as '1 in 100' nor 'off'
    """
    plain = text.strip().lower()
    number = plain.removeprefix("1 in ").strip()
    if plain in _FALSE:
        return 0
    if not (number.isascii() and number.isdecimal()) or int(number) > _MOST_EXPLAIN or int(number) == 0:
        raise ValueError(f"{text!r} is neither a share such as '1 in 100' nor 'off'")
    return int(number)


def parse_widths(text: str) -> dict[str, float]:
    """Read bucket widths from the variable; the last ``=`` separates, so that names may contain one.

    >>> parse_widths("age=10, income=1000")
    {'age': 10.0, 'income': 1000.0}
    >>> parse_widths("age:10")
    Traceback (most recent call last):
    ...
    ValueError: 'age:10' is not name=width, for example age=10,income=1000
    """
    widths: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, width = part.rpartition("=")
        try:
            widths[name.strip()] = float(width)
        except ValueError:
            name = ""
        if not name.strip():
            raise ValueError(f"{part!r} is not name=width, for example age=10,income=1000")
    _check_widths(widths)
    return widths


def _first(argument: _T | None, read: Callable[[], _T | None], default: _T) -> _T:
    if argument is not None:
        return argument
    value = read()
    return default if value is None else value


def _tuple(patterns: Collection[str] | None) -> tuple[str, ...] | None:
    return None if patterns is None else tuple(patterns)


def _check_patterns(name: str, patterns: object) -> None:
    if patterns is None:
        return
    if isinstance(patterns, str) or not isinstance(patterns, Collection):
        raise ValueError(f"{name}: {patterns!r} is not a list of feature names or glob patterns")
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"{name}: {pattern!r} is not a feature name or glob pattern")


def _check_widths(widths: Mapping[str, float], where: str = "") -> None:
    for feature, width in widths.items():
        if not math.isfinite(width) or width <= 0:
            raise ValueError(f"{where}width of {feature!r} is {width:g}, it must be a finite number above 0")


def _check_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}, it must be at least {least}")
