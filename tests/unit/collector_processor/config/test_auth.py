"""TLS and tokens in the configuration: what is wrong is told with its path and the choices, and no secret with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector_processor.config import Config, ConfigError, load_config, parse_config
from collector_processor.service.checks import check_setup, exposures

SECRET = "s3cret-t0ken"
WHOLE = f"""
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: "0.0.0.0:4317", auth: {{ authenticator: bearertokenauth/apps }} }}
      http: {{ auth: {{ authenticator: bearertokenauth/apps }} }}
connectors:
  ml_monitor:
exporters:
  otlp_grpc: {{ endpoint: "collector:4317", tls: {{ insecure: true }}, auth: {{ authenticator: bearertokenauth }} }}
  otlp_http: {{ endpoint: "https://collector:4318", tls: {{ min_version: "1.3", server_name_override: otel }} }}
extensions:
  bearertokenauth: {{ token: {SECRET} }}
  bearertokenauth/apps: {{ tokens: [{SECRET}-1, {SECRET}-2], scheme: Token }}
service:
  extensions: [bearertokenauth, bearertokenauth/apps]
  pipelines:
    traces:  {{ receivers: [otlp], exporters: [ml_monitor, otlp_grpc, otlp_http] }}
    metrics: {{ receivers: [ml_monitor], exporters: [otlp_grpc] }}
"""


def changed(*changes: tuple[str, str]) -> str:
    text = WHOLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_authenticators_are_read_and_their_tokens_hidden() -> None:
    config = parse_config(WHOLE)
    assert config.extensions["bearertokenauth/apps"].fixed == (f"{SECRET}-1", f"{SECRET}-2")
    assert SECRET not in repr(config)
    assert SECRET not in str(config)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  extensions: [bearertokenauth, bearertokenauth/apps]",
            "  extensions: [bearertokenauth]",
            "receivers.otlp.protocols.grpc.auth.authenticator: 'bearertokenauth/apps' is not in service.extensions",
        ),
        (
            "  bearertokenauth/apps: {",
            "  bearertokenauth/app: {",
            "'bearertokenauth/apps' is not a configured bearertokenauth; "
            "available: bearertokenauth, bearertokenauth/app",
        ),
        (f"{{ token: {SECRET} }}", "{}", "set exactly one of token, tokens, filename; set now: none of them"),
        (f"token: {SECRET} ", f"token: {SECRET}, filename: x ", "one of token, tokens, filename; set now: token"),
        (f"token: {SECRET} ", f"token: '{SECRET} x' ", "bearertokenauth: token: not a valid token; write 1 to 4096"),
        (f"token: {SECRET} ", "token: 12345 ", "extensions.bearertokenauth.token: expected a string"),
        ("scheme: Token", "scheme: 'To ken'", "extensions.bearertokenauth/apps.scheme: String should match pattern"),
        ("{ insecure: true }", "{ min_version: '1.3' }", "exporters.otlp_grpc.tls.min_version: not supported for"),
        ("{ insecure: true }", "{ insecure_skip_verify: true }", "exporters.otlp_grpc.tls.insecure_skip_verify: "),
        ("{ insecure: true }", "{ cert_file: c.pem }", "cert_file and key_file must be set together"),
        (
            '"0.0.0.0:4317",',
            '"0.0.0.0:4317", tls: { cert_file: a, key_file: b, min_version: "1.3" },',
            "receivers.otlp.protocols.grpc.tls.min_version: not supported for gRPC, whose library",
        ),
        ("server_name_override: otel", "server_name: otel", "allowed: insecure, insecure_skip_verify, server_name"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_path_and_without_the_secret(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(changed((old, new)))
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_tokens_that_leave_the_machine_in_plain_text_are_told() -> None:
    assert list(exposures(parse_config(WHOLE))) == [
        "receivers.otlp.protocols.grpc: takes tokens in plain text; set tls",
        "exporters.otlp_grpc: sends its token in plain text; set tls",
    ]
    safe = changed(("{ insecure: true }", "{}"), ("0.0.0.0:4317", "127.0.0.1:4317"))
    assert list(exposures(parse_config(safe))) == []


def test_a_server_that_is_not_verified_is_told() -> None:
    config = parse_config(changed(("server_name_override: otel", "insecure_skip_verify: true")))
    assert "exporters.otlp_http.tls.insecure_skip_verify: accepts any server certificate" in list(exposures(config))


def problems(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        check_setup(config)
    return list(refused.value.problems)


def with_files(**files: str) -> Config:
    tls = ", ".join(f"{name}: '{path}'" for name, path in files.items())
    return parse_config(changed(("{ insecure: true }", f"{{ {tls} }}")))


def test_files_of_tokens_and_certificates_are_checked_before_the_start(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    absent = tmp_path / "absent"
    [missing] = problems(with_files(ca_file=str(absent)))
    assert missing == f"exporters.otlp_grpc.tls.ca_file: cannot read {absent}: No such file or directory"
    [unusable] = problems(with_files(ca_file=str(junk)))
    assert unusable.startswith(f"exporters.otlp_grpc.tls: cannot use {junk}: ")
    [unusable] = problems(with_files(cert_file=str(junk), key_file=str(junk)))
    assert unusable.startswith(f"exporters.otlp_grpc.tls: cannot use {junk}, {junk}: ")
    config = parse_config(changed((f"token: {SECRET}", f"filename: '{absent}'")))
    assert problems(config) == [f"extensions.bearertokenauth: cannot read {absent}: No such file or directory"]


ADMIN = """  telemetry: {{ metrics: {{ endpoint: "{}", auth: {{ authenticator: {} }} }} }}
"""


@pytest.mark.parametrize(
    ("endpoint", "authenticator", "said"),
    [
        (
            "localhost:1",
            "bearertokenauth/none",
            "service.telemetry.metrics.auth.authenticator: 'bearertokenauth/none' is not a configured bearertokenauth; "
            "available: bearertokenauth, bearertokenauth/apps",
        ),
        ("here", "bearertokenauth", "service.telemetry.metrics.endpoint: 'here' is not an address"),
    ],
)
def test_the_services_own_address_is_checked_as_receivers_are(endpoint: str, authenticator: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(WHOLE + ADMIN.format(endpoint, authenticator))
    assert any(problem.startswith(said) for problem in raised.value.problems), raised.value.problems


def test_tokens_for_the_services_own_address_in_plain_text_are_warned_of_unless_they_stay_here() -> None:
    own = [parse_config(WHOLE + ADMIN.format(host, "bearertokenauth")) for host in ("0.0.0.0:8888", "localhost:8888")]
    warned = "service.telemetry.metrics: takes tokens in plain text; set tls"
    assert [warned in list(exposures(config)) for config in own] == [True, False]


def test_the_services_own_address_is_shared_with_nobody() -> None:
    text = WHOLE + ADMIN.format("localhost:4317", "bearertokenauth")
    with pytest.raises(ConfigError, match=r"service\.telemetry\.metrics\.endpoint: localhost:4317 is also receivers"):
        check_setup(parse_config(text))


def test_certificates_of_the_services_own_address_are_read_before_the_start(tmp_path: Path) -> None:
    tls = f"tls: {{ cert_file: {tmp_path}/none.pem, key_file: {tmp_path}/none.key }}"
    text = WHOLE + ADMIN.format("localhost:8888", "bearertokenauth").replace("auth:", f"{tls}, auth:")
    with pytest.raises(ConfigError, match=r"service\.telemetry\.metrics\.tls: cannot read .*none\.pem"):
        check_setup(parse_config(text))


def test_relative_paths_start_from_the_folder_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = changed(
        ("{ insecure: true }", "{ ca_file: ca.pem }"),
        (f"token: {SECRET}", "filename: tokens"),
        ('"0.0.0.0:4317",', '"0.0.0.0:4317", tls: { cert_file: own.pem, key_file: own.key, client_ca_file: ca.pem },'),
    )
    (tmp_path / "otel-ml.yaml").write_text(text)
    wrong = "\n".join(problems(load_config(tmp_path / "otel-ml.yaml")))
    assert f"cannot use {tmp_path / 'ca.pem'}" in wrong
    assert f"cannot read {tmp_path / 'tokens'}" in wrong
    assert f"cannot read {tmp_path / 'own.pem'}" in wrong


def test_a_file_that_is_only_in_the_working_directory_still_works_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "tokens").write_text("a-token\n")
    monkeypatch.chdir(here)
    (tmp_path / "otel-ml.yaml").write_text(changed((f"token: {SECRET}", "filename: tokens")))
    check_setup(load_config(tmp_path / "otel-ml.yaml"))
    assert f"relative to the folder of the configuration file, {tmp_path}" in caplog.text
    (tmp_path / "tokens").write_text("a-token\n")
    caplog.clear()
    check_setup(load_config(tmp_path / "otel-ml.yaml"))
    assert not caplog.records
