"""Predictions of ONNX Runtime as spans, with no code changed: ``InferenceSession.run`` of tabular models.

**What is not observed.** Sessions without an output that is a class, probabilities or one value (transformers,
embeddings, detectors of outliers, clusters); ``run_with_ort_values``, ``run_with_iobinding`` and ``run_async``, whose
results stay where they are. Images, sequences and texts are predicted without features.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan)

    def attach(self, module: ModuleType) -> None:
        for base in module.InferenceSession.__mro__[:-1]:
            self.observe(base, "run")

    def plan(self, session: Any) -> Plan:
        # imported here: it needs numpy, which ONNX Runtime has loaded
        from otel_ml.frameworks.onnxruntime import sessions

        return sessions.plan(session, self.models)


class OnnxRuntimeInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments ONNX Runtime's ``InferenceSession``; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_onnxruntime`` keeps it from being loaded.
    """

    distribution = "onnxruntime"
    builds = ("onnxruntime-gpu",)
    versions = ">= 1.12"
    module = "onnxruntime"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of sessions."""
        return _Observer(options)
