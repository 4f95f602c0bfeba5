"""Predictions of classification pipelines of transformers as spans, with no code changed.

Texts, images and sounds are never sent: of a text, its length and its number of words are features.

**What is not observed.** Pipelines for other tasks, such as generation; calls with a generator or data set, whose
results come later; several labels per input, and raw outputs (``function_to_apply="none"``).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan, ("sklearn.", "evaluate."))

    def attach(self, module: ModuleType) -> None:
        """Replace the call that every pipeline ends in."""
        self.observe(module.Pipeline, "__call__")

    def plan(self, pipeline: Any) -> Plan:
        from otel_ml.frameworks.transformers import pipelines

        return pipelines.plan(pipeline, self.models)


class TransformersInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments pipelines of transformers; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_transformers`` keeps it from being loaded.
    """

    distribution = "transformers"
    versions = ">= 4.30"
    module = "transformers.pipelines.base"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of pipelines."""
        return _Observer(options)
