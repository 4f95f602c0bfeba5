"""The demo: a model in a serving app, a year of real flights, and the service that monitors it."""

from collector_processor.demo.run import run_demo

__all__ = ["run_demo"]
