"""Configuration in the Collector's grammar: read, checked as a whole, refused with the key's path and the choices."""

from collector_processor.config.load import Config, default_config, load_config, parse_config
from collector_processor.config.reading import ConfigError

__all__ = ["Config", "ConfigError", "default_config", "load_config", "parse_config"]
