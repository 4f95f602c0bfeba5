"""River 0.26.1's alarms on pinned streams, in Python and compiled; verification/topics/river.py asks River itself."""

from __future__ import annotations

import random

import pytest

from collector_processor.detectors import rows
from collector_processor.detectors.built import compiled_rows

NAMES = ("ADWIN", "PageHinkley", "DDM", "EDDM", "HDDMA")
MODULES = [pytest.param(rows, id="python")]
if compiled_rows is not None:
    MODULES.append(pytest.param(compiled_rows, id="compiled"))


def uniform(count: int) -> list[float]:
    """Numbers of a linear congruential generator, which any tool can repeat."""
    state, values = 1, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state / 2**32)
    return values


UNIFORM = uniform(6000)
VALUES = [u + (0.3 if row >= 3000 else 0.0) for row, u in enumerate(UNIFORM)]
ERRORS = [float(u < (0.1 if row < 3000 else 0.25)) for row, u in enumerate(UNIFORM)]


def alarms(detector, values: list[float]) -> list[int]:
    return [row for row, value in enumerate(values) if detector.see(value)]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("ADWIN", VALUES, [3071]),
        ("PageHinkley", VALUES, [3187]),
        ("ADWIN", ERRORS, [3103]),
        ("PageHinkley", ERRORS, [3303]),
        ("DDM", ERRORS, [4446]),
        ("EDDM", ERRORS, [333, 608, 889, 1692, 1993, 2312, 2805, 3052]),
        ("HDDMA", ERRORS, [792, 3083]),
    ],
)
def test_alarms_are_those_of_river(module, name: str, values: list[float], expected: list[int]) -> None:
    assert alarms(getattr(module, name)(), values) == expected


@pytest.mark.parametrize("module", MODULES)
def test_settings_and_window_are_those_of_river(module) -> None:
    assert alarms(module.PageHinkley(threshold=10.0), VALUES) == [489, 778, 938, 2015, 3020, 3564]
    adwin = module.ADWIN()
    alarms(adwin, VALUES)
    assert adwin.width == 2928
    assert adwin.total == pytest.approx(2325.6642878275165, abs=1e-9)
    assert adwin.variance == pytest.approx(248.29771546578306, abs=1e-9)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", NAMES)
def test_a_state_restored_in_the_middle_changes_nothing(module, name: str) -> None:
    values = VALUES if name in ("ADWIN", "PageHinkley") else ERRORS
    whole = getattr(module, name)()
    expected = alarms(whole, values)
    for cut in (0, 1, 31, 500, 792, 793, 3071, 3072, 4446, 4447):
        first, second = getattr(module, name)(), getattr(module, name)()
        found = alarms(first, values[:cut])
        second.restore(first.state())
        assert found + [cut + row for row in alarms(second, values[cut:])] == expected
        assert second.state() == whole.state()


@pytest.mark.skipif(compiled_rows is None, reason="not compiled here")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_and_python_keep_the_same_bits(name: str) -> None:
    source = random.Random(7)
    one, other = getattr(rows, name)(), getattr(compiled_rows, name)()
    for part in range(20):
        rate = source.random()
        values = [float(source.random() < rate) for _ in range(1000)]
        assert alarms(one, values) == alarms(other, values), part
        assert one.state() == other.state()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_stream_raises_no_alarm(module, name: str, value: float) -> None:
    assert alarms(getattr(module, name)(), [value] * 5000) == []
