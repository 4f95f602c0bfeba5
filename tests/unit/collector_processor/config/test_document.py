"""YAML with environment variables: a variable is one value, whatever is in it, and no error shows a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.config.document import MAX_NODES, DocumentError, read_document
from collector_processor.config.load import ConfigError, parse_config
from collector_processor.settings.base import Settings

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
PLACES = (
    "key: ${env:X}",
    "key: ${X}",
    "key: '${env:X}'",
    'key: "${env:X}"',
    "{key: '${env:X}', other: 1}",
    "{key: ${env:X}, other: 1}",
    "{key: ${env:X:-a default}, other: 1}",
    "key: >-\n  ${env:X}",
    "# ${env:UNSET} and ${\nkey: ${env:X}  # ${also unset",
)


@given(ANY_TEXT)
def test_a_variable_is_one_value_whatever_is_in_it(value: str) -> None:
    for place in PLACES:
        assert read_document(place, {"X": value}).value in ({"key": value}, {"key": value, "other": 1}), place


@given(ANY_TEXT)
def test_a_variable_inside_a_text_or_a_key_stays_inside_it(value: str) -> None:
    assert read_document("a${env:X}b: c-${env:X}-d", {"X": value}).value == {f"a{value}b": f"c-{value}-d"}


def test_variables_expand_as_in_the_collector() -> None:
    assert read_document("${env:A}-${B:-b}-$$${env:C:-}", {"A": "a"}).value == "a-b-$"
    assert read_document("price: $5, $$5 and $${env:A}", {}).value == {"price": "$5, $5 and ${env:A}"}
    assert read_document("[${env:A:-b}-c, '${env:A:-}', \"${env:A:-\\t}\"]", {}).value == ["b-c", "", "\t"]
    assert read_document("a: ${env:A:-}", {}).value == {"a": None}
    assert read_document("a: '${env:A:-}'", {}).value == {"a": ""}


class _Inner(Settings):
    size: int = 0


class _Some(Settings):
    text: str = ""
    number: float = 0.0
    whole: int | None = None
    flag: bool = False
    names: tuple[str, ...] = ()
    table: dict[str, str] | None = None
    inner: _Inner = _Inner()


def test_the_setting_decides_what_a_variable_means() -> None:
    text = "{text: '${T}', number: '${N}', whole: '${W}', flag: '${F}', names: '${L}', table: '${M}', inner: '${I}'}"
    environment = {"T": "0123", "N": "1e3", "W": "7", "F": "true", "L": "[a, b]", "M": "{k: v}", "I": "{size: 3}"}
    assert _Some.model_validate(read_document(text, environment).value) == _Some(
        text="0123", number=1000.0, whole=7, flag=True, names=("a", "b"), table={"k": "v"}, inner=_Inner(size=3)
    )
    for value in ("[a]", "{a: b}", "a\\b", "abc #def", "null", "~", "*x", "!x", "@", "a: b\nc: d"):
        assert _Some.model_validate(read_document("text: ${T}", {"T": value}).value).text == value


def test_whole_sections_and_lists_may_come_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVERS", "{otlp: }")
    monkeypatch.setenv("NAMES", "[otlp]")
    config = parse_config(
        "{receivers: '${env:RECEIVERS}', connectors: {ml_monitor: }, exporters: {prometheus: }, service: {pipelines: "
        "{traces: {receivers: '${env:NAMES}', exporters: [ml_monitor]}, "
        "metrics: {receivers: [ml_monitor], exporters: [prometheus]}}}}"
    )
    assert config.pipelines["traces"].receivers == ("otlp",)


def test_merge_keys_bring_the_keys_of_another_mapping() -> None:
    text = "a: &base {x: 1, y: 2}\nb:\n  <<: *base\n  y: 3\nc: {<<: [*base, {z: 4}], x: 5}\n"
    document = read_document(text)
    assert document.value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 5, "y": 2, "z": 4}}
    assert (document.lines["a.x"], document.lines["b.y"], document.lines["b.x"]) == (1, 4, 1)


SECRET = "s3cret-t0ken"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"a: *{SECRET}", "line 1: an alias"),
        (f"a: !{SECRET}", "line 1: unknown tag"),
        (f"a: !{SECRET} b", "line 1: unknown tag"),
        (f"a: !x!{SECRET}", "line 1: unknown tag"),
        (f"a: &{SECRET} b\nc: &{SECRET} d", "line 2: two anchors"),
        (f"a:\n  b: pre${{{SECRET}", "line 2: \\$\\{ begins no valid variable"),
        (f"a: ${{file:/{SECRET}}}", "line 1: \\$\\{ begins no valid variable"),
        (f"a: !!int {SECRET}", "line 1: not a valid int"),
        (f"a: !!timestamp {SECRET}", "line 1: not a valid timestamp"),
        (f"a: !!binary ${SECRET}é", "line 1: "),
        ("a: 2026-13-45", "line 1: not a valid timestamp"),
        (f"a: '{SECRET}", "line 1: "),
        (f'a: "\\z{SECRET}"', "line 1: "),
        (f"a: {SECRET}: b", "line 1: "),
        (f"a: %{SECRET}", "line 1: "),
        (f"a: [{SECRET}", "line 1: "),
        (f"a: b\n{SECRET}", "line 2: "),
        (f"? [{SECRET}]\n: b", "line 1: "),
        ("a: &x [*x]", "line 1: an alias contains itself"),
        ("a:\n\tb: 1", "line 2: a tab; indent with spaces"),
        ("a: {b: 1, b: 2}", "line 1: duplicate key 'b'"),
        ("a: ${env:NOT_SET_ANYWHERE}", "line 1: environment variable NOT_SET_ANYWHERE is not set"),
    ],
)
def test_errors_say_where_and_why_and_show_no_value(text: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason) as raised:
        read_document(text, {})
    assert SECRET not in str(raised.value)


def test_a_few_lines_of_aliases_cannot_stand_for_billions() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))
    with pytest.raises(DocumentError, match=f"more than {MAX_NODES} values"):
        read_document(f"a0: &a0 [x]\n{levels}")


def test_mistakes_are_listed_with_the_line_of_their_key() -> None:
    text = "receivers:\n  otlp:\nexporters:\n  prometheus:\n    endpont: localhost:9464\nservicex:\n"
    with pytest.raises(ConfigError) as raised:
        parse_config(text, source="otel-ml.yaml")
    shown = str(raised.value)
    assert "  - line 5: exporters.prometheus.endpont: unknown key; allowed: endpoint, tls" in shown
    assert "did you mean endpoint?" in shown
    assert "  - line 6: servicex: unknown key; allowed: " in shown
    assert "did you mean service?" in shown
