"""The feedback route by itself, through ASGI and WSGI: the same answers, and labels that are sent or not at all."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otel_ml
from otel_ml import feedback, problems
from otel_ml.testing import Captured, capture

TOKEN = "s3cret-token"
GOOD = {"model": "fraud", "prediction_id": "a", "class": "yes"}
AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


class Got(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: Any


def by_asgi(method: str, path: str, headers: Mapping[str, str], body: bytes, root: str = "", **options: Any) -> Got:
    application = feedback.asgi(**options)
    parts = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b""]
    messages = iter(parts)
    sent: list[Any] = []

    async def receive() -> Any:
        part = next(messages)
        return {"type": "http.request", "body": part, "more_body": part is not parts[-1]}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    asyncio.run(application(scope, receive, send))
    start, end = sent
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Got(start["status"], answered, json.loads(end["body"]) if end["body"] else None)


def by_wsgi(method: str, path: str, headers: Mapping[str, str], body: bytes, root: str = "", **options: Any) -> Got:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path.removeprefix(root), "SCRIPT_NAME": root}
    for name, value in headers.items():
        name = name.upper().replace("-", "_")
        environ[name if name.startswith("CONTENT_T") or name == "CONTENT_LENGTH" else f"HTTP_{name}"] = value
    environ.setdefault("CONTENT_LENGTH", str(len(body)))
    environ["wsgi.input"] = io.BytesIO(body)
    begun: list[Any] = []
    content = b"".join(feedback.wsgi(**options)(environ, lambda *answer: begun.append(answer)))
    [(line, answered)] = begun
    return Got(int(line.split()[0]), dict(answered), json.loads(content) if content else None)


@pytest.fixture(params=[by_asgi, by_wsgi], ids=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Got]:
    return request.param


@pytest.fixture(autouse=True)
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def post(ask: Callable[..., Got], content: object, headers: Mapping[str, str] = AUTHORIZED, **options: Any) -> Got:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask("POST", "/feedback", headers, body, **{"token": TOKEN, **options})


def test_a_label_is_taken(ask: Any, captured: Captured) -> None:
    got = post(ask, {**GOOD, "at": "2026-11-29T13:00:00.5+01:00"})
    assert (got.status, got.content) == (202, {"accepted": 1})
    [label] = captured.labels
    assert (label.model, label.id, label.class_, label.time_ns) == ("fraud", "a", "yes", 1_795_953_600_500_000_000)


def test_a_list_of_labels_of_several_models_leaves_as_one_batch_of_each(ask: Any, captured: Captured) -> None:
    items = [
        {"model": "fraud", "prediction_id": 7, "class": True},
        {"model": "price", "prediction_id": "b", "value": 3, "at": 1_700_000_000},
        {"model": "fraud", "prediction_id": "c", "class": 1, "at": None},
        {"model": "price", "prediction_id": "d", "value": 2.5, "class": "2.5"},
    ]
    assert post(ask, items).content == {"accepted": 4}
    assert len(captured.spans) == 2
    assert [(label.model, label.id, label.class_, label.value) for label in captured.labels] == [
        ("fraud", "7", "true", None),
        ("fraud", "c", "1", None),
        ("price", "b", None, 3.0),
        ("price", "d", "2.5", 2.5),
    ]
    assert captured.labels[2].time_ns == 1_700_000_000 * 10**9


def test_an_id_that_names_a_span_makes_the_label_its_child(ask: Any, captured: Captured) -> None:
    with otel_ml.Model("fraud").predict({"a": 1}) as prediction:
        prediction.record(class_="no")
    assert post(ask, {**GOOD, "prediction_id": prediction.id}).status == 202
    parent = captured.spans[1].parent
    assert parent is not None
    assert parent.span_id == captured.spans[0].get_span_context().span_id


WRONG: list[tuple[Any, int, str]] = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b'{"model": "\xff"}', 400, "not UTF-8"),
    (b"[" * 100_000, 400, "nested too deep"),
    (b'{"a":' * 100_000, 400, "nested too deep"),
    (b'{"value": NaN}', 400, "NaN is not a number in JSON"),
    (b'{"value": -Infinity}', 400, "-Infinity is not a number in JSON"),
    (b'{"value": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    (b'{"class": "a", "class": "b"}', 400, "the key 'class' twice"),
    (b"3", 422, "must be an object with model, prediction_id"),
    ([GOOD, 3], 422, "/1: must be an object"),
    ({**GOOD, "value": 1e999}, 400, "Infinity"),
    (b'{"model": "m", "prediction_id": "a", "value": 1e999}', 422, "/value: must be a finite number"),
    ({**GOOD, "predictionid": "a"}, 422, "/predictionid: is not a field; allowed: model, prediction_id, class,"),
    ({**GOOD, "a/b~": 1}, 422, "/a~1b~0: is not a field"),
    ({**GOOD, "model": ""}, 422, "/model: must be a text of 1 to 256 characters"),
    ({**GOOD, "model": "m" * 257}, 422, "/model: must be a text of 1 to 256 characters"),
    ({**GOOD, "model": None}, 422, "/model: is missing"),
    ({**GOOD, "prediction_id": ""}, 422, "/prediction_id: must be a text that is not empty, or a whole number"),
    ({**GOOD, "prediction_id": 1.5}, 422, "/prediction_id: must be a text"),
    ({**GOOD, "prediction_id": True}, 422, "/prediction_id: must be a text"),
    ({**GOOD, "prediction_id": ["a"]}, 422, "/prediction_id: must be a text"),
    ({"model": "m", "class": "a"}, 422, "/prediction_id: is missing"),
    ({"model": "m", "prediction_id": "a"}, 422, "/class: is missing; write class or value"),
    ({**GOOD, "class": ""}, 422, "/class: must be a text that is not empty, a number, true or false"),
    ({**GOOD, "class": {"a": 1}}, 422, "/class: must be a text"),
    ({**GOOD, "value": "3"}, 422, "/value: must be a finite number"),
    ({**GOOD, "value": True}, 422, "/value: must be a finite number"),
    ({**GOOD, "value": 10**400}, 422, "/value: must be a finite number"),
    ({**GOOD, "at": "yesterday"}, 422, "/at: must be a time such as 2026-11-29T12:00:00Z, or Unix seconds"),
    ({**GOOD, "at": "2026-11-29T12:00:00"}, 422, "/at: has no time zone"),
    ({**GOOD, "at": "2026-13-29T12:00:00Z"}, 422, "/at: is not a time"),
    ({**GOOD, "at": 1_700_000_000_000}, 422, "/at: must be Unix seconds, not milliseconds"),
    ({**GOOD, "at": -1}, 422, "/at: must be Unix seconds"),
    ([GOOD] * 1001, 413, "1,001 labels in one request; allowed: at most 1,000"),
    (b" " * (1024 * 1024) + b"{}", 413, "allowed: at most 1,048,576 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "status", "detail"), WRONG, ids=[text for _, _, text in WRONG])
def test_a_body_that_cannot_be_taken_says_what_is_wrong_and_sends_nothing(
    ask: Any, captured: Captured, content: Any, status: int, detail: str
) -> None:
    got = post(ask, content)
    assert got.status == status
    assert detail in got.content["detail"]
    assert got.headers["content-type"] == "application/problem+json"
    assert got.content["status"] == status
    assert not captured.spans


def test_every_wrong_field_is_listed_up_to_ten(ask: Any) -> None:
    got = post(ask, [GOOD, *[{"model": "m"}] * 20])
    assert len(got.content["errors"]) == 10
    assert got.content["errors"][:3] == [
        {"pointer": "/1/prediction_id", "detail": "is missing; write the id of the prediction"},
        {"pointer": "/1/class", "detail": "is missing; write class or value"},
        {"pointer": "/2/prediction_id", "detail": "is missing; write the id of the prediction"},
    ]


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"authorization": ""}, 401, "the token is missing"),
        ({"authorization": "Bearer wrong"}, 401, "the token is wrong"),
        ({"authorization": f"Bearer {TOKEN}x"}, 401, "the token is wrong"),
        ({"authorization": f"Basic {TOKEN}"}, 401, "the token is wrong"),
        ({"authorization": TOKEN}, 401, "the token is wrong"),
        ({"authorization": "Bearer é"}, 401, "the token is wrong"),
        ({"content-type": "text/plain"}, 415, "allowed: application/json"),
        ({"content-type": ""}, 415, "allowed: application/json"),
        ({"content-encoding": "gzip"}, 415, "the body is compressed"),
        ({"content-length": "many"}, 400, "the content length is not a number"),
        ({"content-length": "9" * 30}, 413, "the body is too large"),
        ({"content-length": "2000000"}, 413, "the body is too large"),
    ],
)
def test_a_head_that_is_refused_says_why_before_the_body_is_read(
    ask: Any, captured: Captured, changes: Any, status: int, detail: str
) -> None:
    got = post(ask, GOOD, {**AUTHORIZED, **changes})
    assert (got.status, detail in got.content["detail"]) == (status, True)
    assert TOKEN not in json.dumps(got.content)
    assert (got.headers.get("www-authenticate", "").startswith("Bearer")) == (status == 401)
    assert not captured.spans


def test_spelling_of_header_values_does_not_matter(ask: Any) -> None:
    headers = {"authorization": f"bearer  {TOKEN} ", "content-type": "Application/JSON; charset=utf-8"}
    assert post(ask, GOOD, headers).status == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_refused_with_those_allowed(ask: Any, method: str) -> None:
    got = ask(method, "/feedback", {}, b"", token=TOKEN)
    assert (got.status, got.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("", "/feedback"),
        ("", "/feedback/"),
        ("/api", "/labels/"),
        ("/api/labels", "/api/labels"),
        ("/api/labels", "/api/labels/"),
        ("", "/"),
    ],
)
def test_the_route_is_found_wherever_it_is_mounted(ask: Any, root: str, path: str) -> None:
    got = ask("POST", path, AUTHORIZED, json.dumps(GOOD).encode(), root, token=TOKEN)
    assert got.status == 202


def test_the_document_describes_what_is_taken(ask: Any) -> None:
    got = ask("GET", "/feedback/openapi.json", {}, b"", token=TOKEN, max_labels=5)
    assert got.status == 200
    assert got.content["openapi"] == "3.1.0"
    post = got.content["paths"]["/feedback"]["post"]
    assert post["security"] == [{"token": []}]
    assert got.content["components"]["schemas"]["Label"]["required"] == ["model", "prediction_id"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["oneOf"][1]["maxItems"] == 5
    assert {"202", "400", "401", "413", "415", "422"} == set(post["responses"])
    public = ask("GET", "/openapi.json", {}, b"", open_to_all=True).content
    assert "401" not in public["paths"]["/feedback"]["post"]["responses"]


def test_labels_are_for_the_models_of_the_route_only(ask: Any, captured: Captured) -> None:
    assert post(ask, GOOD, models=["fraud", "churn"]).status == 202
    got = post(ask, {**GOOD, "model": "price"}, models=["fraud", "churn"])
    assert got.content["errors"] == [
        {"pointer": "/model", "detail": "is not a model of this route; allowed: churn, fraud"}
    ]
    without = {name: value for name, value in GOOD.items() if name != "model"}
    assert post(ask, without, models=["fraud", "churn"]).status == 422
    assert post(ask, without, models=["fraud"]).status == 202
    assert [label.model for label in captured.labels] == ["fraud", "fraud"]


def test_tokens_of_a_file_change_with_it(ask: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n\nnew\n")
    options: dict[str, Any] = {"token": None, "token_file": file}
    application = feedback.wsgi(token_file=file)

    def status(token: str) -> int:
        begun: list[Any] = []
        body = json.dumps(GOOD).encode()
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/feedback", "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        }  # fmt: skip
        application(environ, lambda *answer: begun.append(answer))
        return int(begun[0][0].split()[0])

    assert [status(token) for token in ("old", "new", "other", "")] == [202, 202, 401, 401]
    file.write_text("other\n")
    os.utime(file, ns=(1, 1))
    assert [status(token) for token in ("old", "other")] == [401, 202]
    file.write_text("")
    assert status("other") == 202
    file.unlink()
    assert status("other") == 202
    with pytest.raises(FileNotFoundError):
        post(ask, GOOD, **options)


def test_a_token_may_come_from_the_environment(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ML_FEEDBACK_TOKEN", TOKEN)
    assert post(ask, GOOD, token=None).status == 202
    assert post(ask, GOOD, {**AUTHORIZED, "authorization": ""}, token=None).status == 401
    monkeypatch.delenv("OTEL_ML_FEEDBACK_TOKEN")
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("OTEL_ML_FEEDBACK_TOKEN_FILE", str(tmp_path / "token"))
    assert post(ask, GOOD, token=None).status == 202


def test_without_a_token_only_an_open_route_can_be_made(ask: Any) -> None:
    assert post(ask, GOOD, {"content-type": "application/json"}, token=None, open_to_all=True).status == 202
    for options in (
        {},
        {"token": ""},
        {"token": TOKEN, "open_to_all": True},
        {"token": TOKEN, "token_file": "x"},
        {"token": TOKEN, "path": "feedback"},
        {"token": TOKEN, "path": "/feedback/"},
        {"token": TOKEN, "models": "fraud"},
        {"token": TOKEN, "max_labels": 0},
    ):
        for make in (feedback.asgi, feedback.wsgi):
            with pytest.raises(ValueError, match=r"token|path|models|max_labels"):
                make(**options)  # type: ignore[arg-type]


def test_a_failure_inside_is_an_answer_and_logged_once(
    ask: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret of a customer")

    monkeypatch.setattr("otel_ml.feedback.route.send_label", fail)
    for _ in range(2):
        got = post(ask, GOOD)
        assert (got.status, got.content["detail"]) == (500, "the route failed; its log says why")
    assert [record.message for record in caplog.records if "RuntimeError" in record.message]
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["model", "prediction_id", "class", "value", "at", "x", ""]), inner, max_size=6
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200)
@given(JSON | st.binary(max_size=60))
def test_no_body_makes_it_fail(content: Any) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    for ask in (by_asgi, by_wsgi):
        got = ask("POST", "/feedback", AUTHORIZED, body, token=TOKEN)
        assert got.status in (202, 400, 422)
        assert got.status == 202 or got.content["detail"]


def test_a_caller_that_leaves_sends_no_label(captured: Captured) -> None:
    messages = iter(
        [
            {"type": "http.request", "body": json.dumps(GOOD).encode(), "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in AUTHORIZED.items()]
    scope = {"type": "http", "method": "POST", "path": "/feedback", "headers": headers}
    asyncio.run(feedback.asgi(token=TOKEN)(scope, receive, send))
    assert not sent

    class Gone:
        def read(self, _: int) -> bytes:
            raise OSError("gone")

    begun: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/feedback", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "100", "wsgi.input": Gone(),
    }  # fmt: skip
    feedback.wsgi(token=TOKEN)(environ, lambda *answer: begun.append(answer))
    assert begun[0][0] == "400 Bad Request"
    assert not captured.spans


def test_a_body_without_a_length_is_read_only_where_the_server_ends_it() -> None:
    body = json.dumps(GOOD).encode()
    for terminated, status in ((False, "411 Length Required"), (True, "202 Accepted")):
        begun: list[Any] = []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/feedback", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
            "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": terminated,
        }  # fmt: skip
        feedback.wsgi(token=TOKEN)(environ, lambda *answer, begun=begun: begun.append(answer))
        assert begun[0][0] == status
