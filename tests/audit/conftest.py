"""What the tests of the audit share: methods made for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ecglens.attribution import registry
from ecglens.attribution.registry import Card, register


@pytest.fixture
def method() -> Iterator[Callable[..., str]]:
    """Puts a made method into the registry for one test, and gives its name back: method(name, function, **card)."""
    names: list[str] = []

    def put(name: str, function: Callable[..., Any], **card: Any) -> str:
        register(name, Card("made", "made", "1", True, True, "sample", "all", **card))(function)
        names.append(name)
        return name

    registry.methods()  # the package's own are there, so that none is registered over a made one
    yield put
    for name in names:
        registry._REGISTRY.pop(name, None)
