"""Secrets are told by type, masked whatever is in them, and taken out of what others say, however written."""

from __future__ import annotations

import json
import logging
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, Field, PostgresDsn, Secret, SecretBytes
from wasmplex.config import EnvRef, FileRef, HostConfig, Location, Table, WorkloadConfig, redact
from wasmplex.config.secrecy import hidden
from wasmplex.errors import Diagnostic
from wasmplex.escaping import escape
from wasmplex.logs import TextFormatter, get_logger
from wasmplex.plugin import Grants
from wasmplex.redaction import KNOWN, Known, Redactor, is_harmless_url, masked_url, secrets_in, url_secrets
from wasmplex.settings import SecretStr, SecretUrl, Settings

# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:QQQ ZZZ@127.0.0.1:1/0", "redis://***@127.0.0.1:1/0"),
        ("redis://user:Q\tQ\xa0Q\u2028Q@h/0", "redis://***@h/0"),
        ("nats://a:e@f@h:4222", "nats://***@h:4222"),
        ("nats://a#b?c/d:e@f@h:4222", "nats://***"),
        ("nats://t0ken@h", "nats://***@h"),
        ("nats://a:b@h1,nats://c:d@h2", "nats://***"),
        ("nats://h1:4222,tls://h2", "nats://h1:4222,tls://h2"),
        ("redis+sentinel://:p@h1,[::1]:26379/main/0", "redis+sentinel://***@h1,[::1]:26379/main/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?***"),
        ("postgres://h/db?user=u&password=p%40", "postgres://h/db?***"),
        ("https://h/p#key=1", "https://h/p#***"),
        ("redis://u:p@h/0?a=x@y", "redis://***"),
        ("redis://user:secret", "redis://***"),
        ("redis://h o s t", "redis://***"),
        ("host=h password='a b'", "***"),
        ("hunter2", "***"),
        ("", "***"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert masked_url(url) == shown
    assert str(SecretUrl(url)) == shown
    assert repr(SecretUrl(url)) == f"SecretUrl({shown!r})"


@given(st.text(), st.text(), st.sampled_from(["", "?", "#"]), st.text())
def test_no_part_of_credentials_is_ever_shown(user: str, password: str, mark: str, query: str) -> None:
    shown = masked_url(f"redis://<{user}>:<{password}>@h:1/0{mark}{f'<{query}>' if mark else ''}")
    assert "<" not in shown
    assert ">" not in shown


def test_what_is_secret_in_a_url() -> None:
    assert url_secrets("redis://u:a%40b@h/0") == {"u:a%40b", "u:a@b", "a%40b", "a@b"}
    assert url_secrets("nats://t@h1,nats://u:p@h2") >= {"t", "p", "u:p"}
    assert url_secrets("redis://h/0") == set()
    assert url_secrets("rediss://redis:redis@h/0") == {"redis:redis"}
    assert url_secrets("postgresql://postgres:s@h/0") >= {"postgres:s", "s"}
    assert url_secrets("unix:///s?db=1&key=a+b") == {"1", "a b"}
    assert url_secrets("hunter2") == {"hunter2"}
    assert url_secrets("redis://u:secret") == {"u:secret"}


# ---------------------------------------------------------------- settings


class Inner(Settings):
    key: SecretStr = SecretStr("inner-key")
    name: str = "n"


class Everything(Settings):
    url: SecretUrl = SecretUrl("redis://u:url-secret@h")
    dsn: PostgresDsn | None = None
    any: AnyUrl = AnyUrl("http://u:any-secret@h/p")
    several: list[AnyUrl] = []  # noqa: RUF012
    password: SecretStr | None = None
    data: SecretBytes = SecretBytes(b"data-secret")
    pin: Secret[int] = Secret(4711)
    noted: Annotated[SecretStr, Field(min_length=1)] = SecretStr("noted-secret")
    named: dict[str, SecretStr] = {}  # noqa: RUF012
    inner: list[Inner] = []  # noqa: RUF012
    limit: int = 5
    text: str = "password"


SECRETS = {"u:url-secret", "url-secret", "u:any-secret", "any-secret", "data-secret", "4711", "noted-secret"}


def test_what_is_secret_in_settings() -> None:
    assert secrets_in(Everything()) == SECRETS
    more = Everything(
        dsn=PostgresDsn("postgresql://a:b%20c@h,i/d"), password=SecretStr("pw"), inner=[Inner()],
        named={"a": SecretStr("named-key")}, several=[AnyUrl("http://a-token@h")],
    )  # fmt: skip
    assert secrets_in(more) == SECRETS | {
        "a:b%20c", "a:b c", "b%20c", "b c", "pw", "inner-key", "named-key", "a-token"
    }  # fmt: skip
    shown = repr(more) + str(more)
    assert not [secret for secret in secrets_in(more) if secret in shown and len(secret) > 2]
    assert "text='password'" in shown
    assert "http://***@h" in shown


def test_a_table_is_shown_by_the_types_of_its_keys() -> None:
    written = {
        "url": "redis://u:p@h", "any": "http://u:p@h/p", "dsn": EnvRef("DSN"),
        "password": FileRef(Path("a\nb")), "data": "x", "pin": 5, "noted": "y", "named": {"a": "z"},
        "inner": [{"key": "k", "name": "token"}],
        "limit": 7, "text": "password=x", "unknown": "who knows", "namespace": "n", "several": ["http://a@b"],
        "missing": None,
    }  # fmt: skip
    assert redact(Table(written), Everything, plain={"namespace"}) == {
        "url": "redis://***@h", "any": "http://***@h/p", "dsn": '{ env = "DSN" }',
        "password": '{ file = "a\\nb" }', "data": "***", "pin": "***", "noted": "***", "named": {"a": "***"},
        "inner": [{"key": "***", "name": "token"}], "limit": 7, "text": "password=x", "unknown": "***",
        "namespace": "n", "several": ["http://***@b"], "missing": None,
    }  # fmt: skip


def test_what_two_models_read_is_as_secret_as_the_stricter_says() -> None:
    class Other(Settings):
        text: SecretStr
        url: str

    assert redact(Table({"text": "a", "url": "redis://u:p@h"}), Everything, Other) == {
        "text": "***", "url": "redis://***@h"
    }  # fmt: skip


def test_the_environment_of_a_guest_is_in_no_repr() -> None:
    env = {"TOKEN": "hunter2"}
    workload = WorkloadConfig("w", Path("w.wasm"), Location("host.toml", 1, "workload.w"), env=env)
    texts = (workload, HostConfig(Path("host.toml"), workloads={"w": workload}), Grants(env=env))
    assert not [text for text in map(repr, texts) if "hunter2" in text]


def test_what_no_message_about_a_table_may_hold() -> None:
    written = {"url": "redis://u:p@h", "text": EnvRef("T"), "pin": 5, "limit": 7, "named": {"a": EnvRef("N")}}
    resolved = {"url": "redis://u:p@h", "text": "of T", "pin": 5, "limit": 7, "named": {"a": "of N"}}
    assert hidden(Table(written), resolved, Everything) == {"u:p", "p", "of T", "5", "of N"}


HARMLESS = ("nats://127.0.0.1:4222", "nats://h1:4222,tls://h2", "redis://[::1]:6379/0", "unix:///run/r.sock")


@pytest.mark.parametrize("reference", [EnvRef("URL"), FileRef(Path("url"))])
@pytest.mark.parametrize("url", HARMLESS)
def test_what_of_a_url_is_shown_is_shown_wherever_it_came_from(url: str, reference: object) -> None:
    def found(key: str, **how: bool) -> frozenset[str]:
        return hidden(Table({key: reference}), {key: url}, Everything, **how)

    assert found("url", accepted=True) == set()
    assert found("url") == {url}, "it may be whatever stands in a wrong file"
    for key in ("text", "password", "unknown"):
        assert found(key, accepted=True) == {url}, "it is no setting for URLs"


WORD = st.text(min_size=1, max_size=12).map(lambda text: f"Zq{text}xK")


@given(
    WORD,
    st.sampled_from([
        "{}", "{}\n", " nats://h:1\n{}", "nats://h:1\n{}", "nats://h/\n{}", "nats://h/ {}", "nats://{}@h",
        "nats://u:{}@h", "nats://h:{}", "nats://:{}", "nats://h?{}", "nats://h/p?key={}", "nats://h#{}",
        "nats://a@h,nats://{}@h", "nats://h/{}@h", "nats://h/?a=1&b={}", "nats:{}", "//{}@h", "://{}",
    ]),
)  # fmt: skip
def test_what_is_no_harmless_url_is_hidden_as_a_whole(secret: str, pattern: str) -> None:
    url = pattern.format(secret)
    found = hidden(Table({"url": EnvRef("URL")}), {"url": url}, Everything, accepted=True)
    assert url in found
    text = Redactor(found).text(f"cannot reach {url}: refused")
    assert "Zq" not in text
    assert "xK" not in text


@given(st.text())
def test_nothing_but_what_is_shown_of_a_url_is_harmless(text: str) -> None:
    assert not is_harmless_url(text) or (masked_url(text) == text and url_secrets(text) == set())


@given(st.from_regex(r"[a-z]{1,6}://[a-zA-Z0-9.:,/@?#%\[\]_ \n-]{0,20}", fullmatch=True))
def test_nor_of_what_is_like_a_url(text: str) -> None:
    assert not is_harmless_url(text) or (masked_url(text) == text and url_secrets(text) == set())


# ---------------------------------------------------------------- what others say

WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode()),
    "JSON": json.dumps,
    "quoted": lambda text: urllib.parse.quote(text, safe=""),
    "quoted path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "lower case": lambda text: urllib.parse.quote(text).lower(),
    "URL": lambda text: f"redis://u:{urllib.parse.quote(text, safe='')}@h",
    "base64": lambda text: b64encode(text.encode()).decode(),
    "basic": lambda text: b64encode(f"user:{text}".encode()).decode(),
    "basic in a URL": lambda text: urlsafe_b64encode(f"me:{text}more".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "log": escape,
}


@pytest.mark.parametrize("way", WAYS)
@given(
    secret=st.text(min_size=1, max_size=12).map(lambda text: f"Zq{text}xK"),
    before=st.text(max_size=5),
    after=st.text(max_size=5),
)
def test_a_secret_is_found_however_it_is_written(way: str, secret: str, before: str, after: str) -> None:
    written = WAYS[way](secret)
    redacted = Redactor({secret}).text(f"{before}{written}{after}")
    assert written.strip("'\"b=") not in redacted.replace("***", "\0")
    if way != "log" and "base" not in way and "basic" not in way and way != "hex":
        assert "Zq" not in redacted.replace(before, "").replace(after, "") or "Zq" in before + after


@given(st.sets(st.text(min_size=1)), st.text())
def test_nothing_is_left_of_what_stands_alone(secrets: set[str], other: str) -> None:
    redactor = Redactor(secrets)
    for secret in secrets - {"*", "**", "***"}:
        text = redactor.text(f" {secret} ")
        assert secret.strip() in {"", "*", "**", "***"} or f" {secret} " not in text
    assert redactor.text(redactor.text(other)) is not None


def test_pieces_that_are_quoted() -> None:
    redactor = Redactor({"pa/ss'word", "4"})
    assert redactor.text("cannot parse 'pa' of \"pa/s\" or `ss`") == "cannot parse '***' of '***' or '***'"
    assert redactor.text("it is 'good' so, 44 of 4") == "it is 'good' so, 44 of ***"
    assert redactor.text("lost http://any:body@h, and PA%2fSS%27WORD") == "lost http://***@h, and ***"


def test_a_diagnostic_and_an_error() -> None:
    redactor = Redactor({"hunter2"})
    found = redactor.diagnostic(Diagnostic("hunter2!", "at hunter2", "b hunter2", "try hunter2"))
    assert found == Diagnostic("***!", "at ***", "b ***", "try ***")
    assert redactor.error(ValueError("a\nhunter2")) == "ValueError: a ***"
    assert "hunter2" not in repr(redactor)
    assert not Redactor({""})


# ---------------------------------------------------------------- the log


def logged(*args: Any, **options: Any) -> str:
    lines: list[str] = []
    handler = logging.Handler()
    formatter = TextFormatter(times=False)
    handler.emit = lambda record: lines.append(formatter.format(record))  # type: ignore[method-assign]
    logger = get_logger("redaction")
    logger.addHandler(handler)
    try:
        logger.error(*args, **options)
    finally:
        logger.removeHandler(handler)
    return "\n".join(lines)


def test_a_record_holds_no_secret_that_is_in_use() -> None:
    with KNOWN.holding({"hunter2"}), KNOWN.holding({"hunter2", "hunter3"}):
        assert logged("failed: %s and %r", "hunter2", {"a": "hunter3"}) == (
            "ERROR redaction: failed: *** and {'a': '***'}"
        )
        try:
            raise ConnectionError("redis://u:hunter2@h")  # noqa: TRY301
        except ConnectionError:
            text = logged("failed", exc_info=True)
        assert "hunter2@" not in text
        assert "ConnectionError: redis://***@h" in text
    assert logged("%s", "hunter2").endswith("hunter2"), "it is not in use any more"


def test_what_is_known_is_counted() -> None:
    known = Known()
    with known.holding(["a-secret"]):
        with known.holding(["a-secret"]):
            assert known.text("a-secret") == "***"
        assert known.text("a-secret") == "***"
    assert known.text("a-secret") == "a-secret"
    assert not known
    known.forget = False
    with known.holding(["a-secret"]):
        pass
    assert known.text("a-secret") == "***"
