"""The public handle: a :class:`Model` whose predictions and labels become spans and metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar, overload

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_ml.columnar import predicting
from otel_ml.config import Config
from otel_ml.emit.emitter import Emitter
from otel_ml.emit.labels import emit_label, emit_labels
from otel_ml.explain.explains import Explains
from otel_ml.observe import ResultReader, observed_function
from otel_ml.prediction import Prediction
from otel_ml.semconv import Role, Task

P = ParamSpec("P")
_PROVIDERS: Final = ("tracer_provider", "meter_provider")
R = TypeVar("R")


class Model:
    """A predictive model under observation. Make one per model and keep it: it is thread-safe and fork-safe.

    - ``name``, ``version``: identity; if not given, ``OTEL_ML_MODEL_NAME`` and ``OTEL_ML_MODEL_VERSION``.
    - ``task``: ``binary_classification``, ``multiclass_classification`` or ``regression``.
    - ``features``: column names of arrays and lists (frames and mappings have their own); by default ``x0``, ``x1``, ….
    - ``role``: ``champion``, ``challenger`` or ``shadow``. ``framework``: the library behind it (``sklearn``).
    - ``positive_class``: the class that ``score`` is the probability of, and that precision and recall are about; sent
      with each prediction. If ``record`` gets only ``scores``, the score is by default that of the second of two.
    - ``threshold``: the positive class is predicted if the score is at least this number; sent with each prediction. It
      decides the class of predictions that name none. NaN says that the class does not follow from the score.
    - ``segments``: names of features whose values are also segments (``ml.segment.<key>``).
    - ``reference``: path of a reference profile, whose buckets ``ml.feature.observations`` counts; by default
      ``OTEL_ML_REFERENCE``, if that profile is for this model.
    - ``explainer``: what attributions of one prediction in 100 (``Config.explain``) come from, beside the application's
      threads: the fitted model, if XGBoost, LightGBM, CatBoost or scikit-learn made it, or a function from the features
      of the call to attributions ``[rows, features]``.
    - ``config``: see :class:`~otel_ml.Config`. ``tracer_provider``, ``meter_provider``: instead of the global ones.

    Raises :class:`ValueError` for an invalid name, task, role or threshold. Nothing raises after that: what cannot be
    emitted is logged once per kind of problem, and the application continues.

    >>> from otel_ml import Model
    >>> from otel_ml.testing import capture
    >>> with capture() as captured:
    ...     model = Model("flight-delay", version="3", task="binary_classification")
    ...     with model.predict({"carrier": "UA", "distance": 1400}) as prediction:
    ...         prediction.record(class_="delayed", score=0.81)
    ...     model.label(prediction.id, class_="on_time")
    >>> [seen] = captured.predictions
    >>> seen.features, seen.class_, seen.score
    ({'carrier': 'UA', 'distance': 1400}, 'delayed', 0.81)
    >>> captured.labels[0].id == seen.id
    True
    """

    __slots__ = ("__weakref__", "_arguments", "_emitter")
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        """Keep the arguments, because a handle travels to another process as these."""
        model = super().__new__(cls)
        model._arguments = args, {name: value for name, value in kwargs.items() if name not in _PROVIDERS}
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: the reader's own providers take the place of these here."""
        args, kwargs = self._arguments
        return partial(type(self), **kwargs), args

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str = "",
        task: Task | None = None,
        features: Sequence[str] | None = None,
        role: Role | None = None,
        framework: str | None = None,
        positive_class: object = None,
        threshold: float | None = None,
        segments: Collection[str] = (),
        reference: str | None = None,
        explainer: object = None,
        config: Config | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._emitter = Emitter(
            name,
            version=version,
            task=task,
            features=features,
            role=role,
            framework=framework,
            positive_class=positive_class,
            threshold=threshold,
            segments=segments,
            reference=reference,
            explainer=explainer,
            config=config,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self._emitter.name

    @property
    def version(self) -> str:
        """The model's version, empty if it has none."""
        return self._emitter.version

    def __repr__(self) -> str:
        return f"Model({self.name!r}, version={self.version!r})"

    def predict(
        self,
        features: object = None,
        *,
        id: object = None,
        segments: Mapping[str, object] | None = None,
        time_ns: int | None = None,
    ) -> Prediction:
        """Observe one call of the model, with one row or many, as a context manager.

        ``features`` is a mapping, a list, a numpy array, a pandas or polars frame, a pyarrow table, a list of mappings
        or a mapping of columns, also a pydantic object, a dataclass, or a list of these; its shape decides
        whether the call has one row or many (a frame of one row is one row). Where it could be either, the
        recorded outputs decide. Images, sequences and texts have no columns: their predictions have outputs,
        ids and labels, but no features, which is logged once. A function without arguments that returns one of
        these is called only if something is recorded. Features that may change during the call are read at
        entry (the top level of a mapping or list, arrays up to 16 MiB); the rest are read at exit.

        ``id`` is the join key for labels, or one per row; by default it is ``{trace id}:{span id}``, followed by
        ``:{i}`` for row i of many. ``segments`` have one value, or one per row. ``time_ns`` (Unix) sets the event time,
        for replays.

        A batch that would exceed ``Config.max_span_bytes`` is split into several spans: the first covers the call, and
        its children, the others, have zero length, so that latency counts once.

        >>> from otel_ml.testing import capture
        >>> with capture() as captured:
        ...     model = Model("price", task="regression", features=["rooms", "area"])
        ...     with model.predict([[3, 70.5], [2, 50.0]]) as prediction:
        ...         prediction.record(value=[310.0, 220.0])
        >>> [(seen.features["rooms"], seen.value) for seen in captured.predictions]
        [(3, 310.0), (2, 220.0)]
        """
        return predicting(self._emitter, features, id, segments, time_ns)

    def explaining(self) -> Explains | None:
        """Return what explains a sample of this model's predictions, for an instrumentation that has the fitted model.

        None if the settings (``Config.explain``) do not ask for it.
        """
        return self._emitter.explaining()

    @overload
    def observe(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def observe(
        self,
        /,
        *,
        features: str | int | None = None,
        id: str | None = None,
        result: str | ResultReader | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def observe(
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        features: str | int | None = None,
        id: str | None = None,
        result: str | ResultReader | None = None,
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a prediction function, plain or ``async``; each call is a prediction.

        ``features`` is the argument that holds the features (a name or a position; the first that is not
        ``self`` or ``cls`` by default), ``id`` the argument that holds the prediction's id. ``result`` describes what
        the function returns: an argument of :meth:`Prediction.record <otel_ml.Prediction.record>` (``"score"``), or a
        function from the result to a mapping of such arguments. By default a float is the score (the value for a
        regression), a text, truth value or integer is the class, and a mapping with names of such arguments is taken
        as these arguments.

        >>> from otel_ml.testing import capture
        >>> with capture() as captured:
        ...     model = Model("fraud")
        ...     @model.observe(features="order", result=lambda row: {"class_": row[0], "score": row[1]})
        ...     def is_fraud(customer, order):
        ...         return order["amount"] > 100, 0.7
        ...     answer = is_fraud("anna", {"amount": 250.0})
        >>> answer, captured.predictions[0].class_, captured.predictions[0].features
        ((True, 0.7), 'true', {'amount': 250.0})
        """

        def decorate(target: Callable[P, R]) -> Callable[P, R]:
            return observed_function(self._emitter, target, features, id, result)

        return decorate if function is None else decorate(function)

    def label(
        self, prediction_id: object, *, class_: object = None, value: object = None, time_ns: int | None = None
    ) -> None:
        """Report what turned out to be true for one prediction: its class or its value.

        Labels may come at any later time, from any process, and again when corrected. ``time_ns`` (Unix) is the time at
        which the truth was known, now by default. If the id contains the prediction's trace and span, the label's span
        is a child of it. A label is sent whatever the trace sampler decides, unless ``Config.follow_sampler``.

        >>> from otel_ml.testing import capture
        >>> with capture() as captured:
        ...     Model("price").label("order-7", value=305)
        >>> captured.labels[0].id, captured.labels[0].value
        ('order-7', 305.0)
        """
        emit_label(self._emitter, prediction_id, class_, value, time_ns)

    def labels(self, ids: object, *, classes: object = None, values: object = None, time_ns: object = None) -> None:
        """Report the truth for many predictions at once: ``ids`` and ``classes`` or ``values``, of equal length.

        Each is a list, array, or column of a frame, and so is ``time_ns`` if each truth was known at another time. They
        travel in one span, or in several of bounded size.

        >>> from otel_ml.testing import capture
        >>> with capture() as captured:
        ...     Model("fraud").labels(["a", "b"], classes=[True, False])
        >>> [(label.id, label.class_) for label in captured.labels]
        [('a', 'true'), ('b', 'false')]
        """
        emit_labels(self._emitter, ids, classes, values, time_ns)
