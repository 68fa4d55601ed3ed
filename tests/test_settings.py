"""Settings from YAML: types, nesting, overrides, and errors that name the place and the nearest name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from soundclip_hf.settings import SettingError, override, read_settings


@dataclass(frozen=True)
class Inner:
    size: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size={self.size}: give at least 0")


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    paths: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    names: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    on: bool = False


def test_values_become_their_types():
    given = {
        "paths": "one",
        "inner": {"size": 3, "rate": "1e-3"},
        "maybe": {"rate": 2},
        "options": {"a": [1]},
        "on": True,
    }
    made = read_settings(Outer, given)
    assert made == Outer("x", ("one",), Inner(3, 0.001), Inner(1, 2.0), {}, {"a": [1]}, True)
    assert read_settings(Outer, {"maybe": None, "paths": ["a", "b"]}) == Outer(paths=("a", "b"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nmae": 1}, "nmae: unknown setting; did you mean 'name'?"),
        ({"inner": {"sizes": 1}}, "inner.sizes: unknown setting; did you mean 'size'?"),
        ({"zzz": 1}, "there are name, paths, inner"),
        ({"inner": {"size": 1.5}}, "inner.size=1.5: write a whole number"),
        ({"inner": {"size": True}}, "inner.size=True: write a whole number"),
        ({"maybe": {"rate": "fast"}}, "maybe.rate='fast': write a number"),
        ({"name": 3}, "name=3: write text"),
        ({"on": "yes"}, "on='yes': write true or false"),
        ({"names": ["a"]}, r"names=\['a'\]: write a mapping"),
        ({"inner": 3}, "inner=3: holds no settings"),
        ({"maybe": {"size": -1}}, "maybe: size=-1: give at least 0"),
        ([], "the configuration=.*holds no settings"),
    ],
    ids=str,
)
def test_errors_name_the_place_and_the_fix(values, words):
    with pytest.raises(SettingError, match=words):
        read_settings(Outer, values)


def test_overrides():
    values: dict[str, Any] = {"inner": {"size": 1}, "maybe": None}
    override(values, "inner.size", 2)
    override(values, "maybe.rate", 3)
    override(values, "name", "y")
    assert values == {"inner": {"size": 2}, "maybe": {"rate": 3}, "name": "y"}
    with pytest.raises(SettingError, match="name is 'y', which has no settings"):
        override(values, "name.more", 1)
