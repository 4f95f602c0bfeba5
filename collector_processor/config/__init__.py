"""Configuration in the Collector's grammar: read, checked as a whole, refused with the key's path and the choices."""

from collector_processor.config.components import (
    DebugExporter,
    Exporter,
    FileStorage,
    HealthCheck,
    MlMonitor,
    ModelConfig,
    OtlpExporter,
    OtlpReceiver,
    PrometheusExporter,
)
from collector_processor.config.load import Config, ConfigError, default_config, load_config, parse_config

__all__ = [
    "Config",
    "ConfigError",
    "DebugExporter",
    "Exporter",
    "FileStorage",
    "HealthCheck",
    "MlMonitor",
    "ModelConfig",
    "OtlpExporter",
    "OtlpReceiver",
    "PrometheusExporter",
    "default_config",
    "load_config",
    "parse_config",
]
