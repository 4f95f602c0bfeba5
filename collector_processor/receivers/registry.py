"""All receivers, one line each."""

from __future__ import annotations

from typing import Any, Final

from collector_processor.components import Registry
from collector_processor.receivers.component import ReceiverComponent
from collector_processor.receivers.inference_logger.component import INFERENCE_LOGGER
from collector_processor.receivers.otlp.component import OTLP

RECEIVERS: Final[Registry[ReceiverComponent[Any]]] = Registry(ReceiverComponent, (OTLP, INFERENCE_LOGGER))
