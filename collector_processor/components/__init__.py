"""Components: the description that each receiver, exporter or extension gives of itself, and their registry."""

from collector_processor.components.component import Component
from collector_processor.components.registry import ENTRY_POINTS, Registry

__all__ = ["ENTRY_POINTS", "Component", "Registry"]
