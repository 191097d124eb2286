"""Whatever is in a secret setting of any backend of ours, no command, message, log line or repr has it."""

import json
import logging
import os
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import guests
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.cli.dispatch import run
from wasmplex.config.secrecy import Secrecy, secrecy
from wasmplex.errors import PluginError, WasmplexError
from wasmplex.host import Host
from wasmplex.logs import JsonFormatter, TextFormatter
from wasmplex.plugin import BackendProvider
from wasmplex.plugins.identity import Group
from wasmplex.plugins.registry import Registry

HEAD, TAIL = "ZqW7", "xK9v"
"""What begins and ends every secret, so that a piece of one is found as well."""
IMPORTS = {
    "keyvalue": ("kvfull", "wasi:keyvalue/store@0.2.0-draft"),
    "blobstore": ("blobs", "wasmcloud:blobstore/blobstore@0.1.0"),
    "postgres": ("pgcount", "wasmcloud:postgres/query@0.2.0"),
}
"""A guest for each capability, and what it imports."""
KEYS = {"bucket": "blobs", "endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b"}
NOWHERE = "127.0.0.1:1"

Write = Callable[[str], dict[str, str | int]]
Backend = tuple[str, str]
"""A capability, and a name."""


def quoted(secret: str) -> str:
    return urllib.parse.quote(secret, safe="")


REDIS, NATS = ("keyvalue", "redis"), ("keyvalue", "nats")
OBJECTS, S3, POSTGRES = ("blobstore", "nats"), ("blobstore", "s3"), ("postgres", "postgres")
WAYS: dict[str, tuple[Backend, Write]] = {
    "redis password": (REDIS, lambda s: {"url": f"redis://{NOWHERE}", "password": s}),
    "redis URL": (REDIS, lambda s: {"url": f"redis://user:{s}@{NOWHERE}/0"}),
    "redis quoted URL": (REDIS, lambda s: {"url": f"redis://:{quoted(s)}@{NOWHERE}/0"}),
    "redis user alone": (REDIS, lambda s: {"url": f"redis://{s}@{NOWHERE}/0"}),
    "redis sentinel": (REDIS, lambda s: {"url": f"redis+sentinel://u:{s}@{NOWHERE},{NOWHERE}/main"}),
    "redis cluster": (REDIS, lambda s: {"url": f"redis+cluster://u:{s}@{NOWHERE}"}),
    "redis query": (REDIS, lambda s: {"url": f"unix:///nowhere?password={s}"}),
    "redis no URL": (REDIS, lambda s: {"url": s}),
    "redis bad port": (REDIS, lambda s: {"url": f"redis://user:{s.replace('@', '')}"}),
    "nats password": (NATS, lambda s: {"url": f"nats://{NOWHERE}", "user": "u", "password": s}),
    "nats token": (NATS, lambda s: {"url": f"nats://{NOWHERE}", "token": s}),
    "nats URL": (NATS, lambda s: {"url": f"nats://user:{s}@{NOWHERE}"}),
    "nats token in URL": (NATS, lambda s: {"url": f"nats://{s}@{NOWHERE}"}),
    "nats several URLs": (
        NATS,
        lambda s: {"url": f"nats://a:{s}@{NOWHERE},nats://b:{quoted(s)}@{NOWHERE}"},
    ),
    "nats no URL": (NATS, lambda s: {"url": s}),
    "nats objects": (OBJECTS, lambda s: {"url": f"nats://u:{s}@{NOWHERE}", "password": s, "token": s}),
    "s3 keys": (S3, lambda s: {**KEYS, "access_key_id": s, "secret_access_key": s, "session_token": s}),
    "s3 endpoint": (S3, lambda s: {**KEYS, "endpoint": f"http://a:{quoted(s)}@{NOWHERE}"}),
    "postgres password": (POSTGRES, lambda s: {"host": "127.0.0.1", "port": 1, "password": s}),
    "postgres URL": (POSTGRES, lambda s: {"url": f"postgresql://u:{s}@{NOWHERE}/db"}),
    "postgres query": (POSTGRES, lambda s: {"url": f"postgresql:///db?host={NOWHERE}&password={s}"}),
}
SECRETS = st.text(
    st.characters(codec="utf-8") | st.sampled_from(" @:/?#%&,'\"\\\n\t\x1b\u2028"), max_size=12
).map(lambda text: f"{HEAD}{text}{TAIL}")


def test_every_secret_setting_there_is_has_its_ways() -> None:
    """A setting that is declared secret later has to be written in `WAYS` as well."""
    covered = {(backend, key) for backend, write in WAYS.values() for key in write("x")}
    secret = {
        (backend, name)
        for backend in there_are()
        for name in provider(backend).settings.model_fields
        if secrecy(provider(backend).settings, (name,)) in (Secrecy.ALL, Secrecy.URL)
    }
    assert secret <= covered
    assert {(REDIS, "password"), (NATS, "token"), (S3, "session_token"), (POSTGRES, "url")} <= secret


def there_are() -> Iterator[Backend]:
    for name in Registry().names(Group.BACKENDS):
        for capability in IMPORTS:
            with suppress(PluginError):
                provider((capability, name))
                yield capability, name


def provider(backend: Backend) -> BackendProvider[Any]:
    capability, name = backend
    return Registry().backend(name, capability)


def toml(text: str) -> str:
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


def is_clean(text: str) -> bool:
    return HEAD not in text and TAIL not in text and HEAD.lower() not in text.lower()


@contextmanager
def logged() -> Iterator[list[str]]:
    """All that is logged, as text and as JSON, whoever logs it."""
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.extend(  # type: ignore[method-assign]
        formatter.format(record) for formatter in (TextFormatter(), JsonFormatter())
    )
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


async def opened(config: Path, environ: dict[str, str]) -> list[str]:
    """Open and ask a host's backends; return what is said of it."""
    try:
        async with Host.from_config(config, environ=environ) as host:
            probed = await host.probe()
            return [repr(host), repr(host.config), repr(probed)]
    except WasmplexError as error:
        return [str(error), repr(error), error.render()]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SECRETS, by_reference=st.booleans())
def test_nothing_says_what_is_in_a_secret_setting(
    way: str, secret: str, by_reference: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    backend, write = WAYS[way]
    guest, interface = IMPORTS[backend[0]]
    written = write(secret)
    with tempfile.TemporaryDirectory() as folder:
        config, environ = Path(folder) / "host.toml", {}
        lines = [f'backend = "{backend[1]}"', 'timeout = "1s"']
        for key, value in written.items():
            if by_reference and isinstance(value, str) and HEAD in value and "\0" not in value:
                environ[f"SECRET_{key}"] = value
                lines.append(f'{key} = {{ env = "SECRET_{key}" }}')
            else:
                lines.append(f"{key} = {toml(value) if isinstance(value, str) else value}")
        config.write_text(
            f'[workload.app]\ncomponent = "{guests.path(guest)}"\n'
            f'[workload.app.default."{interface.partition("/")[0]}"]\n' + "\n".join(lines)
        )
        said = []
        before = dict(os.environ)
        os.environ.update(environ)
        try:
            with logged() as log:
                said += anyio.run(opened, config, environ)
                for command in (
                    ["explain", str(config), interface], ["explain", "--json", str(config), interface],
                    ["check", str(config)],
                ):  # fmt: skip
                    run(command)
                    said += capsys.readouterr()
                said += log
        finally:
            os.environ.clear()
            os.environ.update(before)
    try:
        said.append(repr(provider(backend).settings(**written)))
    except ValueError as error:
        said += [str(error), repr(error)]
    leaks = [text for text in said if not is_clean(text)]
    assert not leaks, json.dumps(leaks)[:2000]
    assert any(word in text for text in said for word in (backend[1], *written))


@pytest.mark.parametrize(
    ("backend", "url", "said"),
    [
        (POSTGRES, "postgre://postgres@h/d", "the URL must start with postgresql:// or postgres://"),
        (POSTGRES, "postgresql://localhost@h:x/d", "a port is not a number from 1 to 65535"),
        (REDIS, "reds://redis@h", "the URL must start with redis://, rediss://, "),
        (NATS, "nat://nats@h", 'the URL must be like "nats://127.0.0.1:4222"'),
    ],
)
def test_a_user_whose_name_is_a_word_of_ours(
    backend: Backend, url: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guest, interface = IMPORTS[backend[0]]
    (tmp_path / "host.toml").write_text(
        f'[workload.app]\ncomponent = "{guests.path(guest)}"\n'
        f'[workload.app.default."{interface.partition("/")[0]}"]\nbackend = "{backend[1]}"\nurl = "{url}"\n'
    )
    run(["check", str(tmp_path)])
    assert f"because: {said}" in capsys.readouterr().err
