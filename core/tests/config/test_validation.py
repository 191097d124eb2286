"""Settings models against tables: what a plugin's author and its user get to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, Field, field_validator, model_validator
from wasmplex.config import HostConfig, Table, resolve, validate
from wasmplex.settings import (
    Duration,
    OwnWords,
    SecretStr,
    SecretUrl,
    Settings,
    Size,
    parse_duration,
    parse_size,
)

Validated = Callable[..., str]


class Tls(Settings):
    ca_file: str | None = None
    mode: Literal["disable", "require"] = "require"
    retries: int = 0


class Redis(Settings):
    url: SecretUrl = Field(examples=["redis://localhost:6379/0"])
    pool_size: Annotated[int, Field(ge=1)] = 10
    ratio: float = 1.0
    timeout: Duration = 5.0
    max_value: Annotated[Size, Field(ge=2**10, le=64 * 2**20)] = 2**20
    idle: Annotated[Duration, Field(le=300)] | None = None
    bucket: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,20}$")] = "b"
    domain: Annotated[str, Field(pattern=r"^[^\s.*]+$")] | None = None
    prefix: Annotated[str, Field(pattern="^a/b$")] | None = None
    names: Annotated[tuple[str, ...], Field(min_length=1)] = ("n",)
    password: SecretStr | None = None
    pin: SecretStr | None = None
    tls: Tls | None = None
    servers: list[Tls] = []  # noqa: RUF012
    port: int | Literal["auto"] = "auto"
    from_: str | None = Field(None, alias="from")

    @field_validator("url")
    @classmethod
    def _url(cls, secret: SecretUrl) -> SecretUrl:
        value = secret.get_secret_value()
        if not value.startswith("redis://"):
            raise ValueError(f"{value!r} is not a redis URL, it begins with '{value[:5]}'")
        return secret

    @model_validator(mode="after")
    def _whole(self) -> Redis:
        if self.ratio > 9:
            raise ValueError(f"ratio is too much for {self.url.get_secret_value()}")
        if self.ratio < 0:
            raise ZeroDivisionError(self.url.get_secret_value())
        return self


@pytest.fixture
def validated(load_text: Callable[..., HostConfig]) -> Validated:
    """The text of all problems of a table with the Redis model."""

    def run(text: str, environ: dict[str, str] | None = None, **options: Any) -> str:
        config = load_text("[redis]\n" + text)
        given = config.triggers["redis"]
        instance, problems = validate(given, Redis, resolve(given, config.base, environ or {}), **options)
        assert (instance is None) == bool(problems)
        return "\n".join(problem.render() for problem in problems)

    return run


def test_a_right_table(load_text: Callable[..., HostConfig]) -> None:
    config = load_text(
        "[redis]\nurl = 'redis://h'\npool_size = 5\nratio = 2\ntimeout = '1m'\nmax_value = '1KiB'\n"
        "password = 'x'\ntls.mode = 'disable'\nfrom = 'y'\nservers = [{ retries = 1 }]\n"
    )
    given = config.triggers["redis"]
    found, problems = validate(given, Redis, resolve(given, config.base, {}))
    assert problems == []
    assert found is not None
    assert (found.pool_size, found.ratio, found.timeout, found.max_value) == (5, 2.0, 60.0, 1024)
    assert (found.from_, found.tls, found.servers) == ("y", Tls(mode="disable"), [Tls(retries=1)])


URL = "url = 'redis://h'\n"


@pytest.mark.cases("errors.settings.txt")
def test_problems(validated: Validated, text: str, expected: str) -> None:
    assert validated(text.removeprefix("[redis]\n")) == expected


def test_keys_of_others_are_known_too(validated: Validated) -> None:
    assert validated(URL + "bakend = 'x'\n", known=["backend"]).endswith("try: did you mean 'backend'?")


def test_a_table_without_a_file_has_its_path() -> None:
    _, problems = validate(Table({}), Redis, {})
    assert [problem.where for problem in problems] == [""]
    _, problems = validate(Table({"url": "x"}), Tls, {"url": "x"})
    assert [problem.where for problem in problems] == ["url"]


def test_a_value_from_a_reference_is_never_shown(validated: Validated) -> None:
    found = validated("url = { env = 'URL' }\n", {"URL": "http://hunter2"})
    assert found == (
        "error: url, from the environment variable URL, is not valid\n"
        "  at: host.toml:2 (redis.url)\n"
        "  because: '***' is not a redis URL, it begins with '***'"
    )
    assert "hunter2" not in validated("url = { env = 'URL' }\nratio = 10\n", {"URL": "redis://:hunter2@h"})
    assert "hunter2" not in validated("url = { env = 'URL' }\nratio = -1\n", {"URL": "redis://:hunter2@h"})
    assert "hunter2" not in validated("url = { file = 'password.txt' }\n")


def test_a_secret_written_in_the_file_is_never_shown(validated: Validated) -> None:
    assert "hunter2" not in validated("url = 'http://u:hunter2@h'\n")
    assert "hunter2" not in validated("url = 'redis://u:hunter2@h'\nratio = 10\n")
    assert validated(URL + "password = 4711\n") == (
        "error: password is not valid\n  at: host.toml:3 (redis.password)\n"
        '  because: must be text\n  try: password = "..."'
    )
    assert "4711" not in validated(URL + "pin = 4711\n")
    assert "4711" not in validated("url = { my_token = 4711 }\n")


class Database(Settings):
    url: SecretUrl

    @field_validator("url")
    @classmethod
    def _url(cls, url: SecretUrl) -> SecretUrl:
        raise OwnWords("the URL must start with postgresql://")


def test_words_that_quote_nothing_are_shown_whole() -> None:
    """Even where a secret is one of them: what stands in its place would say that it is."""
    table = {"url": "postgre://postgres@h"}
    _, (problem,) = validate(Table(table), Database, table)
    assert problem.why == "the URL must start with postgresql://"


def test_problems_of_a_table_come_in_the_order_of_lines(validated: Validated) -> None:
    found = validated("pool_size = 'x'\nsize = 1\ntls = { retries = 'x' }\nurl = 'http://h'\nratio = 'x'\n")
    assert [line.split(":")[2].split()[0] for line in found.splitlines() if "  at: " in line] == [*"23456"]


def test_a_validator_that_crashes_is_reported(validated: Validated) -> None:
    assert validated(URL + "ratio = -1\n") == (
        "error: the table cannot be checked\n  at: host.toml:1 (redis)\n"
        "  because: Redis failed with ZeroDivisionError: redis://h"
    )


SECRET = "s3cr3t-value"
TREES = st.recursive(
    st.sampled_from([SECRET, f"redis://u:{SECRET}@h"]) | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["mode", "x"]), inner, max_size=2)
    ),
    max_leaves=3,
)


class Loud(Settings):
    """Repeats what it is given in its errors, as careless validators do."""

    url: AnyUrl | None = None
    mode: Literal["a"] | None = None
    other: str | None = None

    @field_validator("other", mode="before")
    @classmethod
    def _other(cls, value: Any) -> Any:
        raise ValueError(f"cannot use {value} or {value!r}")


@given(st.dictionaries(st.sampled_from(["url", "mode", "other", "zzz"]), TREES))
def test_no_reference_is_ever_in_a_message(resolved: dict[str, Any]) -> None:
    """Whatever the model says, and wherever in the table the reference stands."""
    from wasmplex.config import EnvRef

    def written(value: Any) -> Any:
        match value:
            case str():
                return EnvRef("SECRET")
            case dict():
                return {key: written(item) for key, item in value.items()}
            case list():
                return [written(item) for item in value]
        return value

    _, problems = validate(Table(written(resolved)), Loud, resolved)
    assert not any(SECRET in problem.render() for problem in problems)


# --------------------------------------------------------------------------- sizes and durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("1.5m", 90), ("1h", 3600), ("1 d", 86400), (0, 0), (0.5, 0.5)],
)
def test_durations(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "bad", ["", "10", "s", "-1s", "1e3s", "inf", "1S", "١s", "9" * 30 + "s", -1, True, None, [], float("nan"),
            float("inf"), 10**400, "4000d"],
)  # fmt: skip
def test_what_is_no_duration(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(bad)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65536),
        ("1.5MiB", 3 * 2**19),
        ("10MB", 10**7),
        ("0", 0),
        ("9007199254740993B", 2**53 + 1),
        (5, 5),
    ],
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "bad",
    ["", "KiB", "-1B", "1kib", "1TiB", "٣B", "9" * 30, -1, True, None, 1.5, 2**63, 10**400, "99999999999GiB"],
)
def test_what_is_no_size(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"size|4EiB"):
        parse_size(bad)
