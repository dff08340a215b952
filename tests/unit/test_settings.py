"""A setting that is misspelt, missing or unreadable stops the start."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atoll import settings
from atoll.errors import ConfigError

PREFIX = "ATOLL_TEST_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    url: str
    password: str = field(repr=False, default="")
    count: int = 3
    wait_s: float = 0.5
    loud: bool = False
    home: Path | None = None
    tees: tuple[str, ...] = ()
    extra: tuple[str, ...] | None = None


def read(**env: str) -> Config:
    return settings.read(Config, PREFIX, {PREFIX + name: value for name, value in env.items()})


def test_reads_every_kind() -> None:
    config = read(
        URL="nats://x", COUNT="-7", WAIT_S="1.25", LOUD="true", HOME="/a", TEES="a,b", EXTRA="c"
    )
    assert config == Config(
        url="nats://x",
        count=-7,
        wait_s=1.25,
        loud=True,
        home=Path("/a"),
        tees=("a", "b"),
        extra=("c",),
    )


def test_leaves_what_belongs_to_others_alone() -> None:
    env = {"PATH": "/bin", "ATOLL_OTHER_URL": "x", PREFIX + "URL": "u"}
    assert settings.read(Config, PREFIX, env).url == "u"


def test_refuses_a_setting_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="ATOLL_TEST_URI") as caught:
        read(URL="u", URI="u")
    assert caught.value.code == "config.unknown"


def test_names_the_setting_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="ATOLL_TEST_URL") as caught:
        read()
    assert caught.value.code == "config.missing"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COUNT", "three"),
        ("COUNT", ""),
        ("COUNT", "1.0"),
        ("COUNT", "9" * 5000),
        ("WAIT_S", "soon"),
        ("WAIT_S", "nan"),
        ("WAIT_S", "inf"),
        ("LOUD", "yes"),
        ("LOUD", "True"),
        ("LOUD", ""),
    ],
)
def test_refuses_a_value_that_cannot_be_read(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        read(URL="u", **{name: value})
    assert caught.value.code == "config.invalid"


@pytest.mark.parametrize(
    "config",
    [
        Config(url="u"),
        Config(url="u", count=0, loud=True, tees=("a", "b"), home=Path("/x y")),
        Config(url="", wait_s=1e-9, extra=("z",)),
    ],
)
def test_what_is_written_comes_back(config: Config) -> None:
    assert settings.read(Config, PREFIX, settings.write(config, PREFIX)) == config


@pytest.mark.parametrize("tees", [("a,b",), ("",)])
def test_a_list_that_would_not_come_back_is_our_own_mistake(tees: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tees"):
        settings.write(Config(url="u", tees=tees), PREFIX)


@dataclass(frozen=True)
class Odd:
    value: list[str]


def test_a_type_that_no_setting_has_is_our_own_mistake() -> None:
    with pytest.raises(TypeError):
        settings.read(Odd, PREFIX, {PREFIX + "VALUE": "x"})
