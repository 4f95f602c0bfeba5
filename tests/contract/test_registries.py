"""Rules that every registered drift method and monitor keeps, and the search for files left unregistered."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collector_processor.drift as drift_package
import collector_processor.monitors as monitor_package
from collector_processor.columns import codec
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.config.load import default_config
from collector_processor.drift import DRIFT_METHODS, drift_method
from collector_processor.drift.method import Comparison, DriftMethod, Fine
from collector_processor.monitors import MONITOR_TYPES, configured_monitors, monitor_metrics
from collector_processor.monitors.attributes import MODEL_KEYS
from collector_processor.monitors.base import Measurement, Monitor, OptIn, Sequential
from collector_processor.monitors.fold import Fold, restore_folds, saved_folds
from collector_processor.pipeline.settings import ModelConfig
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

SHARED_BY_METHODS = {"compat", "method", "proportions"}
EXTENSIVE = {"chi2"}  # a test statistic grows with the sample; every other score is a distance of shares
METHODS = pytest.mark.parametrize("method", DRIFT_METHODS, ids=lambda method: method.name)


def default_section(name: str) -> Settings:
    """A section as a service has it that has no configuration, with what is off by default switched on."""
    section = default_config().monitor.section(name, ModelConfig())
    if name == "concept":
        section = section.model_copy(update={"detectors": ("adwin", "ddm")})
    return section.model_copy(update={"enabled": True}) if isinstance(section, OptIn) else section


RUNNING = tuple(configured_monitors(default_section))
MONITORS = pytest.mark.parametrize(
    "monitor", [item for item in RUNNING if not isinstance(item, Sequential)], ids=lambda monitor: monitor.name
)
SEQUENTIALS = pytest.mark.parametrize(
    "sequential", [item for item in RUNNING if isinstance(item, Sequential)], ids=lambda monitor: monitor.name
)


def modules(package) -> Iterator[tuple[str, object]]:
    for found in pkgutil.iter_modules(package.__path__):
        yield found.name, importlib.import_module(f"{package.__name__}.{found.name}")


def classes(module) -> list[type]:
    return [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == module.__name__]


def fine_of(reference: np.ndarray, current: np.ndarray, edges: np.ndarray | None = None) -> Fine:
    """Every cell in the middle of its bin of width 1, or at distance 1 beyond the range."""
    columns, bins = reference.shape
    if edges is None:
        edges = np.tile(np.arange(bins - 1.0), (columns, 1))
    middle = np.full(bins, 0.5)
    middle[0], middle[-1] = -1.0, 1.0
    return Fine(edges, reference, current, reference * middle, current * middle, np.full(columns, 2.0))


def comparison(method: DriftMethod, reference, current) -> Comparison:
    reference, current = np.atleast_2d(np.asarray(reference, float)), np.atleast_2d(np.asarray(current, float))
    if "categorical" in method.kinds:
        return Comparison("categorical", reference, current)
    return Comparison("numeric", reference, current, fine_of(reference, current))


counts = st.lists(
    st.one_of(st.just(0.0), st.integers(1, 10**9).map(float), st.floats(1e-6, 1e9)), min_size=3, max_size=12
)
pairs = st.tuples(counts, counts).map(lambda pair: tuple(side[: min(map(len, pair))] for side in pair))


def score(method: DriftMethod, reference, current) -> float:
    return float(method.score(comparison(method, reference, current))[0])


@METHODS
@given(pair=pairs, scale=st.floats(0.1, 100.0))
@settings(max_examples=40, deadline=None)
def test_score_is_finite_and_not_negative_where_both_sides_have_cells(method, pair, scale):
    reference, current = pair
    value = score(method, reference, current)
    if sum(reference) and sum(current):
        assert value >= 0.0
        assert math.isfinite(value)
    else:
        assert math.isnan(value)


@METHODS
@given(side=counts.filter(any), scale=st.floats(0.1, 100.0))
@settings(max_examples=40, deadline=None)
def test_score_is_zero_for_equal_distributions(method, side, scale):
    sizes = 1.0 + (sum(side) if method.name in EXTENSIVE else 0.0)
    assert score(method, side, [scale * count for count in side]) == pytest.approx(0.0, abs=1e-12 * sizes)


@METHODS
@given(pair=pairs.filter(lambda pair: any(pair[0]) and any(pair[1])), scale=st.floats(0.1, 100.0))
@settings(max_examples=40, deadline=None)
def test_score_knows_shares_and_not_sizes(method, pair, scale):
    reference, current = pair
    if method.name in EXTENSIVE:  # rare bins count together, and what is rare depends on the sizes
        reference, current = ([1e7 * min(max(count, 1.0), 1e3) if count else 0.0 for count in side] for side in pair)
    expected = score(method, reference, current) * (scale if method.name in EXTENSIVE else 1.0)
    scaled = score(method, [scale * count for count in reference], [scale * count for count in current])
    assert scaled == pytest.approx(expected, rel=1e-9, abs=1e-12)


@METHODS
@given(pair=pairs.filter(lambda pair: any(pair[0]) and any(pair[1])))
@settings(max_examples=40, deadline=None)
def test_score_is_symmetric(method, pair):
    # Wasserstein too: what divides it is the comparison's spread, not a side.
    reference, current = pair
    assert score(method, reference, current) == pytest.approx(score(method, current, reference), rel=1e-9, abs=1e-12)


@METHODS
def test_empty_bins_change_nothing(method):
    reference, current = [[5.0, 30.0, 20.0, 0.0]], [[9.0, 10.0, 40.0, 0.0]]
    plain = comparison(method, reference, current)
    wide = [np.pad(side, ((0, 0), (0, 5))) for side in (plain.reference, plain.current)]
    fine = None
    if plain.fine is not None:
        edges = np.pad(plain.fine.edges, ((0, 0), (0, 5)), constant_values=np.inf)
        excess = [np.pad(side, ((0, 0), (0, 5))) for side in (plain.fine.reference_excess, plain.fine.current_excess)]
        fine = Fine(edges, *wide, *excess, plain.fine.spread)
    padded = Comparison(plain.kind, *wide, fine)
    assert method.score(padded) == pytest.approx(method.score(plain), rel=1e-12)
    assert method.noise(padded, 0.01) == pytest.approx(method.noise(plain, 0.01), rel=1e-12)
    p_values = method.p_value(plain), method.p_value(padded)
    assert p_values[0] is None or p_values[0] == pytest.approx(p_values[1], rel=1e-12)


@METHODS
def test_an_empty_side_has_no_score_no_noise_and_no_p_value(method):
    some, none = [3.0, 4.0, 5.0], [0.0, 0.0, 0.0]
    for pair in ((some, none), (none, some), (none, none)):
        empty = comparison(method, *pair)
        p_value = method.p_value(empty)
        assert np.isnan(method.score(empty)).all()
        assert np.isnan(method.noise(empty, 0.01)).all()
        assert p_value is None or np.isnan(p_value).all()


@METHODS
def test_retractions_leave_no_trace(method):
    clean = comparison(method, [5.0, 30.0, 20.0, 0.0], [9.0, 10.0, 40.0, 0.0])
    dusty = comparison(method, [5.0, 30.0, 20.0, -0.0], [9.0, 10.0, 40.0, -1e-16])
    assert method.score(dusty) == pytest.approx(method.score(clean), rel=1e-12)
    assert method.noise(dusty, 0.01) == pytest.approx(method.noise(clean, 0.01), rel=1e-12)


@METHODS
def test_all_columns_at_once_are_each_column_alone(method):
    random = np.random.default_rng(3)
    reference, current = random.poisson(40, (7, 6)).astype(float), random.poisson(9, (7, 6)).astype(float)
    together = comparison(method, reference, current)
    for column in range(7):
        alone = comparison(method, reference[column], current[column])
        assert method.score(together)[column] == pytest.approx(method.score(alone)[0], rel=1e-12)
        assert method.noise(together, 0.01)[column] == pytest.approx(method.noise(alone, 0.01)[0], rel=1e-12)


@METHODS
def test_p_value_from_a_score_at_hand_is_the_same(method):
    some = comparison(method, [50.0, 30.0, 20.0], [9.0, 10.0, 40.0])
    p_value = method.p_value(some)
    assert p_value is None or p_value.tolist() == method.p_value(some, method.score(some)).tolist()


@METHODS
@pytest.mark.parametrize(("n", "m"), [(5000, 500), (500, 500), (20_000, 2_000)])
def test_noise_is_a_bound_that_chance_passes_with_probability_alpha(method, n, m):
    random = np.random.default_rng(n + m)
    columns, alpha = 3000, 0.01
    cells = 120 if method.kinds == ("numeric",) else 10
    share = random.dirichlet(np.full(cells, 20.0))
    reference, current = (random.multinomial(size, share, columns).astype(float) for size in (n, m))
    sides = comparison(method, reference, current)
    if sides.fine is not None:
        middles = np.arange(cells) - 0.5
        spread = np.sqrt(share @ middles**2 - (share @ middles) ** 2)
        fine = sides.fine
        sides = Comparison(
            "numeric", reference, current,
            Fine(fine.edges, reference, current, fine.reference_excess, fine.current_excess, np.full(columns, spread)),
        )  # fmt: skip
    alarms = np.mean(method.score(sides) > method.noise(sides, alpha))
    assert alarms <= 1.8 * alpha  # 4 standard errors of 3000 trials


@METHODS
def test_noise_falls_with_sample_size_and_with_alpha(method):
    small = comparison(method, [50.0, 30.0, 20.0], [10.0, 9.0, 8.0])
    large = comparison(method, [5000.0, 3000.0, 2000.0], [1000.0, 900.0, 800.0])
    assert method.noise(small, 0.001)[0] > method.noise(small, 0.05)[0]
    if method.name not in EXTENSIVE:
        assert method.noise(large, 0.001)[0] < method.noise(small, 0.001)[0] / 3.0


@METHODS
def test_method_is_found_by_its_name_and_described(method):
    assert drift_method(method.name) is method
    assert set(method.kinds) <= {"numeric", "categorical"}
    assert method.kinds
    assert 0.0 <= method.threshold < math.inf
    assert inspect.getdoc(type(method))


def test_unknown_method_names_the_choices():
    with pytest.raises(ValueError, match=r"unknown drift method 'PSI'; choose from: psi, js, .*wasserstein"):
        drift_method("PSI")


def test_every_file_in_drift_is_a_registered_method():
    registered = {type(method) for method in DRIFT_METHODS}
    for name, module in modules(drift_package):
        if name not in SHARED_BY_METHODS:
            assert registered.intersection(classes(module)), f"drift/{name}.py holds no method of DRIFT_METHODS"
    assert len({method.name for method in DRIFT_METHODS}) == len(DRIFT_METHODS)


def test_every_monitor_is_registered():
    for name, module in modules(monitor_package):
        for found in classes(module):
            if found not in {Monitor, Sequential} and hasattr(found, "metrics") and hasattr(found, "sections"):
                assert found in MONITOR_TYPES, f"monitor/{name}.py: {found.__name__} is not in MONITOR_TYPES"
    assert len({kind.name for kind in MONITOR_TYPES}) == len(MONITOR_TYPES)


# --- monitors on a window with everything -------------------------------------------------------------------------


def batch(rows: int = 2000, seed: int = 0, shift: float = 0.0) -> tuple[PredictionBatch, Column]:
    random = np.random.default_rng(seed)
    positive = random.random(rows)
    predicted = Column(None, (positive > 0.5).astype(np.int32), ("no", "yes"))
    age = random.normal(shift, 1.0, rows)
    age[::50] = np.nan
    mixed = Column(
        np.where(np.arange(rows) % 9, age, np.nan), np.where(np.arange(rows) % 9, -1, 0).astype(np.int32), ("?",)
    )
    region = Column(None, random.integers(-1, 3, rows).astype(np.int32), ("north", "south", "west"))
    sex = Column(None, random.integers(0, 2, rows).astype(np.int32), ("female", "male"))
    labels = Column(None, (positive > random.random(rows)).astype(np.int32), ("no", "yes"))
    predictions = PredictionBatch(
        ModelKey("fraud", "7"),
        np.arange(rows, dtype=np.int64),
        np.zeros((rows, 2), np.uint64),
        np.ones(rows),
        random.exponential(0.01, rows),
        features={"age": Column(age), "mixed": mixed, "region": region},
        prediction=predicted,
        score=positive,
        attributions={"age": positive - 0.5, "income": 0.1 * positive},
        segments={"sex": sex},
    )
    return predictions, labels


@pytest.fixture(scope="module")
def reference() -> Reference:
    predictions, labels = batch()
    return build_reference("fraud", predictions, segments=["region", "sex"], label_classes=labels)


def window_of(reference: Reference, pane: Pane | None = None) -> Window:
    return Window(ModelKey("fraud", "7"), 0, 60, reference.schema.fork(), pane or reference.pane.copy())


def described(monitor: Monitor | Sequential, measurement: Measurement) -> None:
    listed = {metric.name: metric for metric in monitor.metrics}
    keys = [key for key, _ in measurement.attributes]
    assert measurement.name in listed
    metric = listed[measurement.name]
    assert (measurement.unit, measurement.kind) == (metric.unit, metric.kind)
    assert tuple(keys[:2]) == MODEL_KEYS
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(metric.attributes) | set(MODEL_KEYS)
    assert math.isfinite(measurement.value)
    assert measurement.time_ns == 60


@pytest.fixture(scope="module")
def of_values() -> Reference:
    """The same rows as those of a regression."""
    predictions, _ = batch()
    assert predictions.score is not None
    values = dataclasses.replace(predictions, prediction=None, score=None, value=predictions.score)
    return build_reference("fraud", values, label_values=predictions.score + 0.1)


@pytest.fixture(scope="module")
def of_classes() -> Reference:
    """The same rows as those of three classes."""
    predictions, _ = batch()
    assert predictions.score is not None
    first, codes = predictions.score, (np.arange(len(predictions)) % 3).astype(np.int32)
    third = Column(None, codes, ("no", "yes", "maybe"))
    scores = {"no": first / 2.0, "yes": first / 2.0, "maybe": 1.0 - first}
    return build_reference(
        "fraud", dataclasses.replace(predictions, prediction=third, score=None, scores=scores), label_classes=third
    )


@MONITORS
def test_monitor_gives_only_what_it_lists(monitor, reference, of_values, of_classes):
    found = [item for each in (reference, of_values, of_classes) for item in monitor.evaluate(window_of(each), each)]
    assert found
    for measurement in found:
        described(monitor, measurement)


@MONITORS
def test_no_series_is_given_twice(monitor, reference):
    found = monitor.evaluate(window_of(reference), reference)
    series = [(measurement.name, measurement.attributes) for measurement in found]
    assert len(set(series)) == len(series)


@MONITORS
def test_monitor_reads_and_does_not_write(monitor, reference):
    window = window_of(reference)
    before = {name: values.copy() for name, values in window.pane.arrays().items()}
    sizes = [len(table) for table in (window.schema.categories, window.schema.classes, window.schema.groups)]
    first = monitor.evaluate(window, reference)
    assert first == monitor.evaluate(window, reference)
    assert all(np.array_equal(before[name], values) for name, values in window.pane.arrays().items())
    assert sizes == [len(table) for table in (window.schema.categories, window.schema.classes, window.schema.groups)]


@MONITORS
def test_an_empty_window_gives_nothing_that_is_not_a_number(monitor, reference):
    for measurement in monitor.evaluate(window_of(reference, Pane.empty(reference.schema)), reference):
        described(monitor, measurement)
        assert measurement.name in {semconv.WINDOW_ROWS, semconv.WINDOW_LABELS}


def arrays_of(state) -> dict[str, bytes]:
    return {field.name: getattr(state, field.name).tobytes() for field in dataclasses.fields(state)}


@SEQUENTIALS
def test_a_step_gives_only_what_is_listed_and_leaves_state_and_pane_as_they_were(sequential, reference):
    pane = window_of(reference)
    state, twin = sequential.begin(reference), sequential.begin(reference)
    for _ in range(60):
        before, vectors = arrays_of(state), {name: values.copy() for name, values in pane.pane.arrays().items()}
        after, found = sequential.step(pane, reference, state)
        assert arrays_of(state) == before
        assert all(np.array_equal(vectors[name], values) for name, values in pane.pane.arrays().items())
        twin, again = sequential.step(pane, reference, twin)
        assert (arrays_of(twin), again) == (arrays_of(after), found)
        for measurement in found:
            described(sequential, measurement)
        state = after
    assert found  # after so many panes there is something to say


@SEQUENTIALS
def test_a_state_has_one_shape_and_comes_back_from_a_snapshot_bit_by_bit(sequential, reference):
    fold = Fold.begun(sequential, reference)
    shapes = {field.name: getattr(fold.state, field.name).shape for field in dataclasses.fields(fold.state)}
    for end_ns in (60, 120, 180):
        fold.step(dataclasses.replace(window_of(reference), end_ns=end_ns), reference)
    assert {field.name: getattr(fold.state, field.name).shape for field in dataclasses.fields(fold.state)} == shapes
    head, pieces = codec.pack(saved_folds([fold], reference))
    saved = codec.unpack(head, bytearray(b"".join(pieces)))
    again = Fold.begun(sequential, reference)
    assert list(restore_folds([again], reference, saved, not_before_ns=180)) == []
    assert arrays_of(again.state) == arrays_of(fold.state)
    assert again.stepped_ns == 180


def test_metrics_are_described_once():
    metrics = monitor_metrics()
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("ml.")
        assert metric.description
        assert metric.attributes[:2] == MODEL_KEYS
