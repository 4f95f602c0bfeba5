"""Inference events of KServe and Seldon over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector_processor.receivers.component import Receiver, ReceiverComponent, ReceiverContext
from collector_processor.receivers.inference_logger.http import NAME, InferenceLoggerReceiver
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings


def _build(settings: InferenceLoggerSettings, context: ReceiverContext) -> Iterator[Receiver]:
    yield InferenceLoggerReceiver(
        settings,
        context.admission,
        context.key,
        endpoint=context.address(settings.endpoint, context.key),
        guard=context.guard(settings.auth, context.key),
        shared=context.shared,
    )


INFERENCE_LOGGER: Final = ReceiverComponent(NAME, InferenceLoggerSettings, build=_build, alone=True)
