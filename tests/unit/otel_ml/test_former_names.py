"""Import paths of earlier versions still work, and say which path to use now."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import pytest

FORMER = {
    "otel_ml.instrumentation.sklearn": "otel_ml.frameworks.sklearn",
    "otel_ml.instrumentation.base": "otel_ml.frameworks.base",
    "otel_ml.sized_exporter": "otel_ml.otlp_exporter",
}


def import_anew(name: str) -> ModuleType:
    sys.modules.pop(name, None)
    return import_module(name)


@pytest.mark.parametrize(("former", "current"), FORMER.items())
def test_a_former_name_gives_the_same_objects_and_a_warning(former: str, current: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"^{former} is deprecated; import from {current}$") as warned:
        module = import_anew(former)
    assert warned[0].filename.endswith("importlib/__init__.py")  # the importer, not the module itself
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is getattr(import_module(current), name)


@pytest.mark.parametrize(
    ("former", "names"),
    [
        ("otel_ml.instrumentation.sklearn", {"SklearnInstrumentor", "name_model"}),
        ("otel_ml.instrumentation.base", {"quiet"}),
        ("otel_ml.sized_exporter", {"SizeLimitedSpanExporter", "OtlpSpanExporter"}),
    ],
)
def test_names_that_the_docs_gave_are_there(former: str, names: set[str]) -> None:
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        module = import_anew(former)
    assert names <= set(module.__all__)
