"""The OpenAPI document of the route."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def document(path: str, *, secured: bool, max_labels: int, model_needed: bool) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1) of a route at ``path``."""
    needed = ["model", "prediction_id"] if model_needed else ["prediction_id"]
    label = {
        "type": "object",
        "additionalProperties": False,
        "required": needed,
        "anyOf": [{"required": ["class"]}, {"required": ["value"]}],
        "properties": {
            "model": {"type": "string", "minLength": 1, "description": "name of the model"},
            "prediction_id": {
                "type": ["string", "integer"],
                "minLength": 1,
                "description": "id of the prediction that this is the truth about",
            },
            "class": {"type": ["string", "number", "boolean"], "minLength": 1, "description": "true class"},
            "value": {"type": "number", "description": "true value of a regression"},
            "at": {
                "description": "when the truth was known, by default now; numbers are Unix seconds",
                "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number", "exclusiveMinimum": 0}],
            },
        },
        "examples": [{"model": "fraud", "prediction_id": "order-4711", "class": "fraud", "at": "2026-11-29T12:00:00Z"}],
    }
    post: dict[str, Any] = {
        "operationId": "sendFeedback",
        "summary": "Send labels",
        "description": "Say what turned out to be true about predictions. All labels of a request are taken, or none. "
        "The same label may be sent again: it counts once; a different one for the same prediction replaces it.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            {"$ref": "#/components/schemas/Label"},
                            {
                                "type": "array",
                                "maxItems": max_labels,
                                "items": {"$ref": "#/components/schemas/Label"},
                            },
                        ]
                    }
                }
            },
        },
        "responses": {
            "202": {
                "description": "The labels were taken.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            **{
                status: {
                    "description": text,
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for status, text in (
                    ("400", "The body is not JSON."),
                    *((("401", "The token is missing or wrong."),) if secured else ()),
                    ("413", "The body is too large, or has too many labels."),
                    ("415", "The body is not called application/json, or is compressed."),
                    ("422", "A field is missing or wrong; errors lists where."),
                )
            },
        },
    }
    components: dict[str, Any] = {
        "schemas": {
            "Label": label,
            "Accepted": {
                "type": "object",
                "required": ["accepted"],
                "properties": {"accepted": {"type": "integer", "description": "number of labels"}},
            },
            "Problem": {
                "type": "object",
                "required": ["title", "status", "detail"],
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["pointer", "detail"],
                            "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                        },
                    },
                },
            },
        }
    }
    if secured:
        post["security"] = [{"token": []}]
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Feedback for models", "version": version("otel-ml")},
        "paths": {path: {"post": post}},
        "components": components,
    }
