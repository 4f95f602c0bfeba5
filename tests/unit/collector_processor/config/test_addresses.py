"""Addresses to send to: checked at the start, and what they hold of credentials is told to nobody."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from collector_processor.config import ConfigError, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.service.checks import check_setup

SECRET = "hunter2"


def problems(kind: str, endpoint: str) -> str:
    document = yaml.safe_load(DEFAULT)
    document["exporters"][kind] = {"endpoint": endpoint}
    if kind == "alertmanager":
        document["alerts"] = {"notify": [kind]}
    else:
        document["service"]["pipelines"]["metrics"]["exporters"].append(kind)
    try:
        check_setup(parse_config(yaml.safe_dump(document)))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["otlp_grpc", "otlp_http", "alertmanager"])
@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{SECRET}@host:port",
        f"http://user:{SECRET}/@host:9093",
        f"http://user:{SECRET}@:9093",
        f"http://user:{SECRET}@host:99999",
        f"http://user:{SECRET}@[::1:9093",
        f"http://user:{SECRET}@ho st:9093",
        f"ftp://user:{SECRET}@host:9093",
        "",
        "http://",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_credentials(kind: str, endpoint: str) -> None:
    found = problems(kind, endpoint)
    assert f"exporters.{kind}.endpoint" in found
    assert SECRET not in found
    assert "user" not in found


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        ("otlp_grpc", "collector:4317"),
        ("otlp_grpc", "collector"),
        ("otlp_grpc", "dns:///collector:4317"),
        ("otlp_grpc", "https://collector:4317"),
        ("otlp_grpc", "[::1]:9317"),
        ("otlp_grpc", "unix:///run/collector.sock"),
        ("otlp_http", f"http://user:{SECRET}@collector:4318/otlp"),
        ("otlp_http", "collector:4318"),
        ("alertmanager", f"https://user:{SECRET}@alerts/prefix"),
    ],
)
def test_addresses_that_work_are_taken(kind: str, endpoint: str) -> None:
    assert problems(kind, endpoint) == ""


def test_an_alertmanager_without_a_scheme_is_told_what_to_write_and_not_what_was_written() -> None:
    found = problems("alertmanager", f"user:{SECRET}@host:9093")
    assert "write http://host:port or https://host:port" in found
    assert SECRET not in found


def test_credentials_in_an_address_are_for_http() -> None:
    found = problems("otlp_grpc", f"user:{SECRET}@collector:4317")
    assert "exporters.otlp_grpc.endpoint: gRPC does not support a user name in an address" in found
    assert SECRET not in found


def test_a_loop_is_found_behind_credentials_and_told_without_them() -> None:
    found = problems("otlp_http", f"http://user:{SECRET}@localhost:4318")
    assert "a loop" in found
    assert SECRET not in found


@pytest.mark.parametrize("value", [f"slack://{SECRET}", [SECRET], {"a": SECRET}])
def test_what_is_no_section_is_not_shown(value: Any) -> None:
    with pytest.raises(ConfigError, match="exporters: expected a mapping") as error:
        parse_config(
            yaml.safe_dump({**yaml.safe_load(DEFAULT), "exporters": value if value != {"a": SECRET} else SECRET})
        )
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", [f"http://user:{SECRET}@host:port", f"http://a:{SECRET}/@h", f"ftp://a:{SECRET}@h"])
def test_the_client_names_no_credentials_either(url: str) -> None:
    with pytest.raises(ValueError, match="address") as error:
        HttpClient(url, {}, tls=None).post("/x", b"", 1.0, {})
    assert SECRET not in str(error.value)
