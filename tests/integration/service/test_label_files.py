"""``otel-ml label`` against a real service, and against receivers that refuse, stop, or are not there."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector_processor.cli.main import main
from support.ports import free_port
from support.servers import QuietHandler, serving

Make = Callable[..., Any]
ROWS = 200


@pytest.fixture(scope="module")
def running(service_type: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    window = {"size": f"{ROWS} rows", "min_rows": 100}
    monitor = {"window": window, "reference": {"learn": ROWS}}
    with service_type(tmp_path_factory.mktemp("state"), {"connectors": {"ml_monitor": monitor}}) as service:
        yield service


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def predictions(running: Any, otlp: Any, model: str, rows: Sequence[int]) -> None:
    spans = [
        otlp.prediction(
            model,
            {
                "ml.prediction.id": f"{row:04}",
                "ml.prediction.class": "yes" if row % 2 else "no",
                "ml.prediction.score": 0.25 + 0.5 * (row % 2),
                "ml.feature.x": float(row),
            },
            row,
        )
        for row in rows
    ]
    assert running.send("grpc", "traces", otlp.request(spans)).code == 0


def truth(row: int) -> str:
    return "yes" if row % 2 and row % 5 else "no"


def as_csv(path: Path, rows: range) -> None:
    path.write_text("prediction_id,class\n" + "".join(f"{row:04},{truth(row)}\n" for row in rows))


def as_parquet(path: Path, rows: range) -> None:
    table = {"prediction_id": [f"{row:04}" for row in rows], "class": [truth(row) for row in rows]}
    pq.write_table(pa.table(table), path)


@pytest.mark.parametrize(
    ("name", "write", "times"), [("a.csv", as_csv, 1), ("a.parquet", as_parquet, 1), ("twice.csv", as_csv, 2)]
)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_file_gives_the_figures_of_its_labels_however_often_it_is_sent(
    running: Any, otlp: Any, tmp_path: Path, capsys: Any, name: str, write: Any, times: int, protocol: str
) -> None:
    model, first, last = f"{name} {protocol}", ROWS, 2 * ROWS - 1
    predictions(running, otlp, model, range(last))  # the first window is the reference's
    write(tmp_path / name, range(first, last))
    options = ["--model", model, "--endpoint", f"localhost:{running.port(protocol)}"]
    options += ["--protocol", "grpc" if protocol == "grpc" else "http/protobuf"]
    for _ in range(times):
        assert main(["label", str(tmp_path / name), *options]) == 0
        assert f"{last - first} labels of model '{model}' sent" in capsys.readouterr().out
    predictions(running, otlp, model, [last])

    right = sum((row % 2 == 1) == (truth(row) == "yes") for row in range(first, last)) / (last - first)
    figure = {"ml_model_name": model}
    running.wait(lambda: running.value("ml_performance_accuracy_ratio", **figure) == pytest.approx(right, abs=1e-12))
    assert running.value("ml_window_labels", **figure) == last - first
    assert running.counted("otel_ml_labels_total", model=model, outcome="joined") == last - first
    assert running.counted("otel_ml_labels_total", model=model, outcome="duplicate") == (times - 1) * (last - first)


def test_a_correction_in_a_later_file_replaces_a_label(running: Any, otlp: Any, tmp_path: Path) -> None:
    predictions(running, otlp, "corrected", range(ROWS))
    endpoint = ["--endpoint", f"localhost:{running.port('grpc')}"]
    (tmp_path / "a.csv").write_text("id,class,model\n0001,no,corrected\n0002,no,corrected\n")
    (tmp_path / "b.csv").write_text("id,class,model\n0001,yes,corrected\n0002,no,corrected\n")
    for name in ("a.csv", "b.csv"):
        assert main(["label", str(tmp_path / name), *endpoint]) == 0
    for outcome, count in (("joined", 2), ("corrected", 1), ("duplicate", 1)):
        running.wait(
            lambda outcome=outcome, count=count: (
                running.counted("otel_ml_labels_total", model="corrected", outcome=outcome) == count
            )
        )


FEEDBACK = """
import io, json, sys
import otel_ml
from otel_ml import feedback

otel_ml.setup(endpoint=sys.argv[1])
application = feedback.wsgi(token="secret")
for content in json.loads(sys.argv[2]):
    body, answers = json.dumps(content).encode(), []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/feedback", "CONTENT_TYPE": "application/json",
        "HTTP_AUTHORIZATION": "Bearer secret", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
    }
    application(environ, lambda *answer: answers.append(answer[0]))
    assert answers == ["202 Accepted"], answers
    assert otel_ml.flush()
"""


def test_feedback_that_is_sent_again_counts_once_and_a_correction_replaces_it(running: Any, otlp: Any) -> None:
    predictions(running, otlp, "feedback", range(ROWS))
    labels = [{"model": "feedback", "prediction_id": f"{row:04}", "class": truth(row)} for row in range(100)]
    requests = [labels, labels, {**labels[0], "class": "yes"}, labels[1]]
    line = [sys.executable, "-c", FEEDBACK, f"localhost:{running.port('grpc')}", json.dumps(requests)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr

    def counted(outcome: str) -> float:
        return running.counted("otel_ml_labels_total", model="feedback", outcome=outcome)

    running.wait(lambda: counted("joined") == 100 and counted("duplicate") + counted("corrected") == 102)
    # Requests that are worked off together count a label that one of them replaces as corrected, too.
    assert counted("corrected") in (1, 2)


def test_a_service_that_is_full_is_waited_for_and_named(
    run: Make, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_csv(tmp_path / "a.csv", range(5))
    with run({"connectors": {"ml_monitor": {"limits": {"memory": "64MiB"}}}}) as full:
        endpoint = f"localhost:{full.port('grpc')}"
        options = ["--model", "m", "--endpoint", endpoint, "--give-up-after", "1ms"]
        assert main(["label", str(tmp_path / "a.csv"), *options]) == 1
    assert f"error: {endpoint} takes no labels: UNAVAILABLE: " in capsys.readouterr().err


# --- receivers that misbehave -------------------------------------------------------------------------------


class Receiver(QuietHandler):
    """Answers each request with the next of ``server.answers``, then with success; keeps the ids of those it took."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.body()
        with self.server.lock:
            number = next(self.server.numbers)
            status, content = self.server.answers.get(number, (200, b""))
            if status == 200:
                self.server.taken.append(ids_of(body))
            self.server.heads.append(dict(self.headers))
        self.server.hook(number)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def ids_of(body: bytes) -> list[str]:
    found: list[str] = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for span in resource.scope_spans[0].spans:
            [stream] = [item.value.bytes_value for item in span.attributes if item.key == "ml.batch"]
            found += pa.ipc.open_stream(stream).read_all().column("ml.prediction.id").to_pylist()
    return found


@pytest.fixture
def receiver() -> Iterator[Any]:
    with serving(
        Receiver,
        lock=threading.Lock(),
        numbers=itertools.count(),
        answers={},
        taken=[],
        heads=[],
        hook=lambda number: None,
    ) as server:
        yield server


def options_for(receiver: Any, *more: str) -> list[str]:
    endpoint = f"http://127.0.0.1:{receiver.server_address[1]}"
    return ["--model", "m", "--endpoint", endpoint, "--protocol", "http/protobuf", *more]


def big(path: Path, rows: int = 90_000) -> list[str]:
    path.write_text("id,class\n" + "".join(f"{row},a\n" for row in range(rows)))
    return [str(row) for row in range(rows)]


def everything(receiver: Any) -> list[str]:
    return [one for taken in receiver.taken for one in taken]


def test_a_run_that_ended_early_is_continued_where_the_service_acknowledged(
    receiver: Any, tmp_path: Path, capsys: Any
) -> None:
    ids, path = big(tmp_path / "a.csv"), tmp_path / "a.csv"
    receiver.answers.update(dict.fromkeys(range(3, 100), (503, b"")))
    line = ["label", str(path), *options_for(receiver, "--give-up-after", "1ms")]
    assert main(line) == 1
    said = capsys.readouterr()
    assert "60,000 labels of model 'm' sent" in said.out
    assert "takes no labels: 503" in said.err
    assert "60,000 rows were sent; run the same command again to continue" in said.err
    assert len(everything(receiver)) == 60_000
    receiver.answers.clear()
    assert main(line) == 0
    said = capsys.readouterr()
    assert "continuing after row 60,000" in said.err
    assert "90,000 labels of model 'm' sent" in said.out
    assert everything(receiver) == ids
    assert [item.name for item in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("what", ["content", "options", "restart", "damaged"])
def test_a_run_starts_again_if_it_cannot_continue(receiver: Any, tmp_path: Path, capsys: Any, what: str) -> None:
    ids, path = big(tmp_path / "a.csv"), tmp_path / "a.csv"
    receiver.answers.update(dict.fromkeys(range(3, 100), (503, b"")))
    line = ["label", str(path), *options_for(receiver, "--give-up-after", "1ms")]
    assert main(line) == 1
    receiver.answers.clear()
    receiver.taken.clear()
    state = tmp_path / "a.csv.otel-ml-label"
    if what == "content":
        path.write_bytes(path.read_bytes().replace(b"\n89999,a\n", b"\n89999,b\n"))
    elif what == "damaged":
        state.write_text(state.read_text()[:-5])
    elif what == "options":
        line[line.index("m")] = "other"
    else:
        line.append("--restart")
    capsys.readouterr()
    assert main(line) == 0
    why = {
        "content": "the file has changed since: starting again",
        "options": "it was sent with other options: starting again",
        "damaged": "cannot be read: starting again",
        "restart": "",
    }
    assert why[what] in capsys.readouterr().err
    assert everything(receiver) == ids


def test_a_file_that_changes_while_it_is_read_is_not_sent_on(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    big(tmp_path / "a.csv")

    def change(number: int) -> None:
        if number == 1:
            with (tmp_path / "a.csv").open("a") as file:
                file.write("more,a\n")

    receiver.hook = change
    line = ["label", str(tmp_path / "a.csv"), *options_for(receiver)]
    assert main(line) == 1
    assert "was changed while it was read" in capsys.readouterr().err
    assert len(everything(receiver)) == 40_000
    receiver.taken.clear()
    assert main(line) == 0
    assert len(everything(receiver)) == 90_001


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_or_interrupted_continues(receiver: Any, tmp_path: Path, how: signal.Signals) -> None:
    ids = big(tmp_path / "a.csv")
    reached, go_on = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == 2:
            reached.set()
            go_on.wait(60)

    receiver.hook = hold
    line = [sys.executable, "-m", "collector_processor", "label", str(tmp_path / "a.csv"), *options_for(receiver)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert reached.wait(60)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    finally:
        go_on.set()
        process.kill()
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    if how is signal.SIGINT:
        assert "40,000 labels of model 'm' sent" in out
        assert "error: interrupted; 40,000 rows were sent; run the same command again to continue" in err
        assert "Traceback" not in err
    assert json.loads((tmp_path / "a.csv.otel-ml-label").read_text())["counts"]["rows"] == 40_000
    receiver.hook = lambda number: None
    assert main(line[3:]) == 0
    # What was sent without an answer is sent again: the same label counts once.
    assert everything(receiver) == [*ids[:60_000], *ids[40_000:]]


def partial(rejected: int, message: str) -> tuple[int, bytes]:
    answer = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return 200, ExportTraceServiceResponse(partial_success=answer).SerializeToString()


def test_labels_that_the_service_refuses_are_counted_and_named(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    big(tmp_path / "a.csv", 30_000)
    receiver.answers[1] = partial(1, "span 'label m': no room")
    assert main(["label", str(tmp_path / "a.csv"), *options_for(receiver)]) == 1
    said = capsys.readouterr()
    assert "20,000 labels of model 'm' sent, 30,000 rows read" in said.out
    assert "10,000 labels refused by the service" in said.out
    assert "the service says: span 'label m': no room" in said.err


def test_of_several_models_only_the_refused_one_is_counted(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.csv").write_text("id,class,model\n1,a,x\n2,a,x\n3,a,y\n4,a,x\n5,a,\n")
    receiver.answers.update({0: partial(1, "no y"), 2: partial(1, "no y")})
    options = [option for option in options_for(receiver) if option not in ("--model", "m")]
    assert main(["label", str(tmp_path / "a.csv"), *options]) == 1
    out = capsys.readouterr().out
    assert "3 labels sent, 5 rows read" in out
    assert "1 labels refused by the service" in out
    assert "1 rows without a model" in out


def test_a_wrong_token_ends_at_once_and_is_not_shown(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    big(tmp_path / "a.csv", 5)
    receiver.answers[0] = (401, b'{"message": "the token is unknown: tok-123456"}')
    more = ["--header", "authorization=Bearer tok-123456"]
    assert main(["label", str(tmp_path / "a.csv"), *options_for(receiver, *more)]) == 1
    said = capsys.readouterr()
    assert "refuses the labels: 401" in said.err
    assert "tok-123456" not in said.err + said.out
    assert receiver.heads[0]["authorization"] == "Bearer tok-123456"


def test_headers_and_address_are_those_of_the_standard_variables(
    receiver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big(tmp_path / "a.csv", 5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-tenant=a")
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "m")
    assert main(["label", str(tmp_path / "a.csv")]) == 0
    assert receiver.heads[0]["authorization"] == "Bearer abc"
    assert receiver.heads[0]["x-tenant"] == "a"


def test_a_busy_service_is_waited_for(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    ids = big(tmp_path / "a.csv", 5)
    receiver.answers[0] = (429, b"")
    assert main(["label", str(tmp_path / "a.csv"), *options_for(receiver)]) == 0
    assert "waiting, because the service takes nothing: 429" in capsys.readouterr().err
    assert everything(receiver) == ids


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_service_that_is_not_there_is_named(tmp_path: Path, capsys: Any, protocol: str) -> None:
    big(tmp_path / "a.csv", 5)
    endpoint = f"127.0.0.1:{free_port()}"
    options = ["--model", "m", "--endpoint", endpoint, "--protocol", protocol, "--give-up-after", "1ms"]
    assert main(["label", str(tmp_path / "a.csv"), *options]) == 1
    assert f"error: {endpoint} takes no labels: " in capsys.readouterr().err


def test_grpc_to_a_server_of_http_says_what_to_pass(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    big(tmp_path / "a.csv", 5)
    options = ["--model", "m", "--endpoint", f"127.0.0.1:{receiver.server_address[1]}", "--give-up-after", "1ms"]
    assert main(["label", str(tmp_path / "a.csv"), *options]) == 1
    assert "pass --protocol http/protobuf" in capsys.readouterr().err


def test_where_no_state_can_be_written_labels_are_sent_all_the_same(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    ids = big(tmp_path / "a.csv", 50_000)
    receiver.answers.update(dict.fromkeys(range(2, 100), (503, b"")))
    more = ["--state", str(tmp_path / "absent" / "state"), "--give-up-after", "1ms"]
    assert main(["label", str(tmp_path / "a.csv"), *options_for(receiver, *more)]) == 1
    assert "run the same command again" not in capsys.readouterr().err
    assert everything(receiver) == ids[:40_000]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one of FILE and --query"),
        (["a.csv", "--query", "SELECT 1"], "name one of FILE and --query"),
        (["a.csv", "--database", "a.db"], "--database: is for --query"),
        (["a.csv", "--header", "token"], "--header: write NAME=VALUE"),
        (["a.csv", "--give-up-after", "soon"], "--give-up-after: "),
        (["a.csv", "--endpoint", "ftp://x"], "'ftp://x' is not an address"),
        (["a.csv", "--model", "m", "--delimiter", ";;"], "--delimiter: must be one character"),
        (["a.csv", "--model", "m", "--id", "key"], "file 'a.csv': no column 'key'; it has: id, class"),
        (["a.csv"], "file 'a.csv': no column 'model'; it has: id, class"),
    ],
)
def test_a_wrong_option_is_named(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (tmp_path / "a.csv").write_text("id,class\n1,a\n")
    monkeypatch.chdir(tmp_path)
    assert main(["label", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_without_rows_sends_nothing_and_one_without_ids_fails(
    receiver: Any, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "none.csv").write_text("id,class\n")
    assert main(["label", str(tmp_path / "none.csv"), *options_for(receiver)]) == 0
    (tmp_path / "no-ids.csv").write_text("id,class\n,a\n,b\n")
    assert main(["label", str(tmp_path / "no-ids.csv"), *options_for(receiver)]) == 1
    said = capsys.readouterr()
    assert "2 rows without an id" in said.out
    assert "error: no row has an id and a label" in said.err
    assert not receiver.taken


def test_a_row_that_cannot_be_read_ends_the_run_after_what_was_sent(receiver: Any, tmp_path: Path, capsys: Any) -> None:
    big(tmp_path / "a.csv", 20_000)
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(b"x,\xff\n")
    assert main(["label", str(tmp_path / "a.csv"), *options_for(receiver)]) == 1
    assert "line 20002 is not UTF-8 (byte 0xff)" in capsys.readouterr().err
    assert len(everything(receiver)) == 20_000
