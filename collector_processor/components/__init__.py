"""Components: what a folder of a receiver, exporter or extension says of itself, and the registry that lists them."""

from collector_processor.components.component import Component
from collector_processor.components.registry import ENTRY_POINTS, Registry

__all__ = ["ENTRY_POINTS", "Component", "Registry"]
