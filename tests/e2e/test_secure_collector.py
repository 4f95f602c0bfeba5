"""A real Collector in front and behind, with mutual TLS on both sides and a token on ours."""

from __future__ import annotations

from pathlib import Path

import trustme
from stack import Stack, free_port
from traffic import make_rows, model, send_rows

TOKEN = "s3cret-of-the-collector"
ROWS = 200


def certificates(folder: Path) -> dict[str, str]:
    """A CA and a certificate of it for localhost, for servers and clients alike; paths by what they are."""
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost")
    files = {name: str(folder / f"{name}.pem") for name in ("ca_file", "cert_file", "key_file")}
    ca.cert_pem.write_to_path(files["ca_file"])
    leaf.private_key_pem.write_to_path(files["key_file"])
    Path(files["cert_file"]).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return files


def test_a_collector_sends_with_certificate_and_token_and_takes_what_we_send(stack: Stack, tmp_path: Path) -> None:
    files = certificates(tmp_path)
    pair = {name: files[name] for name in ("cert_file", "key_file")}
    serving = {**pair, "client_ca_file": files["ca_file"]}
    (tmp_path / "tokens").write_text(f"another\n{TOKEN}\n")
    asked = {"tls": serving, "auth": {"authenticator": "bearertokenauth"}}
    front, behind, http_behind = free_port(), free_port(), free_port()
    service = stack.service(
        {
            "receivers": {"otlp": {"protocols": {"grpc": asked, "http": asked}}},
            "connectors": {"ml_monitor": {"window": {"size": "100 rows"}, "reference": {"learn": 100}}},
            "exporters": {
                "otlp_grpc": {"endpoint": f"localhost:{behind}", "tls": files},
                "otlp_http": {"endpoint": f"localhost:{http_behind}", "tls": {**files, "min_version": "1.3"}},
            },
            "extensions": {"bearertokenauth": {"filename": str(tmp_path / "tokens")}},
            "service": {
                "extensions": ["health_check", "file_storage", "bearertokenauth"],
                "pipelines": {
                    "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus", "otlp_grpc", "otlp_http"]}
                },
            },
        }
    )
    sending = {"tls": files, "retry_on_failure": {"enabled": False}, "sending_queue": {"enabled": False}}
    authorized = {**sending, "headers": {"authorization": f"Bearer {TOKEN}"}}
    collector = stack.collector(
        {
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": f"localhost:{front}"}}},
                "otlp/ml": {
                    "protocols": {
                        "grpc": {"endpoint": f"localhost:{behind}", "tls": serving},
                        "http": {"endpoint": f"localhost:{http_behind}", "tls": serving},
                    }
                },
            },
            "exporters": {
                "otlp_grpc/ml": {"endpoint": f"localhost:{service.grpc}", **authorized},
                "otlp_http/ml": {"endpoint": f"https://localhost:{service.http}", **authorized},
                "otlp_http/stranger": {"endpoint": f"https://localhost:{service.http}", **sending},
                "debug": {},
            },
            "service": {
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp"],
                        "exporters": ["otlp_grpc/ml", "otlp_http/ml", "otlp_http/stranger"],
                    },
                    "metrics/ml": {"receivers": ["otlp/ml"], "exporters": ["debug"]},
                }
            },
        }
    )

    with model(front) as sender:
        send_rows(sender, make_rows(ROWS, seed=1))
    # Once over each protocol; the stranger nothing, and for good.
    collector.wait(lambda: service.counted("otel_ml_rows_total", model="fraud@1") == 2 * ROWS)
    stranger = {"exporter": "otlp_http/stranger"}
    collector.wait(lambda: collector.counted("otelcol_exporter_send_failed_spans_total", **stranger) == ROWS)
    assert service.counted("otel_ml_unauthenticated_total", transport="http", reason="missing") >= 1
    assert "this receiver requires a bearer token" in collector.log_text(100_000)
    for transport in ("grpc", "http"):
        collector.wait(
            lambda transport=transport: collector.counted(
                "otelcol_receiver_accepted_metric_points_total", receiver="otlp/ml", transport=transport
            )
        )
    assert TOKEN not in service.log_text(1_000_000)
