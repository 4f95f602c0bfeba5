"""Fixtures of the end-to-end tests; ``stack.py`` describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Stack, free_port, tool

HERE = Path(__file__).parent
collect_ignore = ["served_elsewhere"]  # programs of other environments, with what is installed there


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is here; it runs before pytest takes out what was not asked for."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows what the servers said where a test has failed."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        for stack in [value for value in used if isinstance(value, Stack)]:
            report.sections += [(f"log of {name}", text) for name, text in stack.logs()]


def _stack(factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(lambda name: factory.mktemp(name))
    yield stack
    stack.close()


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from _stack(tmp_path_factory)


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from _stack(tmp_path_factory)


@pytest.fixture(scope="session")
def tools() -> Callable[[str], str]:
    return tool


@pytest.fixture(scope="session", name="free_port")
def _free_port() -> Callable[[], int]:
    return free_port


@pytest.fixture
def service(stack: Stack) -> Callable[..., Any]:
    return stack.service


@pytest.fixture
def collector(stack: Stack) -> Callable[..., Any]:
    return stack.collector


@pytest.fixture
def prometheus(stack: Stack) -> Callable[..., Any]:
    return stack.prometheus


@pytest.fixture
def jaeger(stack: Stack) -> Callable[..., Any]:
    return stack.jaeger
