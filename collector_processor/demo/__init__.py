"""The demo: a model in its serving app, a year of real flights, and the service that watches it."""

from collector_processor.demo.run import run_demo

__all__ = ["run_demo"]
