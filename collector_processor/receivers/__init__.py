"""OTLP over gRPC and HTTP: admitted, refused or rejected as the protocol asks."""
