"""``{ env = "NAME" }`` and ``{ file = "path" }``: resolving them, and printing tables without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wasmplex.config.document import quoted, show, spell
from wasmplex.config.model import EnvRef, FileRef, KeyPath, Table
from wasmplex.errors import ConfigError, Diagnostic
from wasmplex.escaping import escape

__all__ = [
    "UNRESOLVED",
    "attempt",
    "describe",
    "is_secret_name",
    "redact",
    "redact_value",
    "resolve",
    "scrub",
    "secrets",
]

_MAX_FILE = 2**20
_SECRET_WORDS = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key",
    re.IGNORECASE,
)
_USERINFO = re.compile(
    r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/?#:@]*):(?P<password>[^\s]*)@(?=[^\s@]*$)"
)
_TOKEN = re.compile(r"(?P<head>\b(?:nats|tls)://)(?P<token>[^\s/?#:@]+)@")  # NATS: a user without a password
_PAIR = re.compile(r"(?P<head>(?:^|[?&;\s])[^=?&;#\s]+=)(?P<value>'[^']*'|[^&;#\s]+)")  # of a query or a DSN
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|`([^`]*)`")
_MASK = "***"


class _Unresolved:
    """Stands where a reference could not be resolved, which has been reported already."""

    def __repr__(self) -> str:
        return "UNRESOLVED"


UNRESOLVED = _Unresolved()


def resolve(table: Table, base: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of `table` with every reference replaced by what it refers to.

    :param base: the directory that the paths of ``{ file = ... }`` start from
    :raises ConfigError: a variable is not set or a file cannot be read; all of them are reported
    """
    values, problems = attempt(table, base, environ)
    if problems:
        raise ConfigError(problems)
    return values


def attempt(table: Table, base: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Resolve what can be resolved, leave `UNRESOLVED` in the place of the rest, and say why."""
    problems: list[Diagnostic] = []

    def walk(value: Any, path: KeyPath) -> Any:
        match value:
            case Mapping():
                return {key: walk(item, (*path, key)) for key, item in value.items()}
            case list():
                return [walk(item, (*path, number)) for number, item in enumerate(value)]
            case EnvRef(name=name):
                found: str | Diagnostic = environ[name] if name in environ else _unset(name)
            case FileRef(path=file):
                found = _contents(base / file, file)
            case _:
                return value
        if isinstance(found, str):
            return found
        problems.append(Diagnostic(found.what, str(table.where(*path)), found.why, found.fix))
        return UNRESOLVED

    return {key: walk(item, (key,)) for key, item in table.values.items()}, problems


def _unset(name: str) -> Diagnostic:
    if not name:
        return Diagnostic("{ env = ... } names no environment variable", fix='{ env = "NAME" }')
    what = f"the environment variable {name} is not set"
    return Diagnostic(what, fix=f"export {name}=...")


def _contents(path: Path, written: Path) -> str | Diagnostic:
    what = f"the file {quoted(str(written))} cannot be read"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        text = data.decode()
    except OSError as error:
        return Diagnostic(what, why=error.strerror or type(error).__name__, fix=f"check {path}")
    except UnicodeDecodeError:
        return Diagnostic(what, why="it is not UTF-8 text")
    except ValueError:
        return Diagnostic(what, why="its path holds a NUL character")
    if len(data) > _MAX_FILE:
        return Diagnostic(what, why=f"it is larger than {_MAX_FILE} bytes")
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def is_secret_name(name: str | int) -> bool:
    """Return whether a key's name says that its value is a secret (``password``, ``api_key``)."""
    return isinstance(name, str) and _SECRET_WORDS.search(name) is not None


def redact(table: Table) -> dict[str, Any]:
    """Return a table for printing: references as written, passwords masked."""
    return {key: redact_value(item, key) for key, item in table.values.items()}


def redact_value(value: Any, name: str | int = "") -> Any:
    """Return a value for printing; `name` is the key it stands under."""
    match value:
        case EnvRef(name=variable):
            return f"{{ env = {quoted(variable)} }}"
        case FileRef(path=path):
            return f"{{ file = {quoted(str(path))} }}"
        case Mapping():
            return {key: redact_value(item, key) for key, item in value.items()}
        case list():
            return [redact_value(item, name) for item in value]
        case bool() | None:
            return value
        case _ if is_secret_name(name):
            return _MASK
        case str():
            return _mask_text(value)
        case _:
            return value


def _mask_text(text: str) -> str:
    text = _USERINFO.sub(rf"\g<head>\g<user>:{_MASK}@", text)
    text = _TOKEN.sub(rf"\g<head>{_MASK}@", text)
    return _PAIR.sub(lambda pair: pair["head"] + _MASK if is_secret_name(pair["head"]) else pair[0], text)


def describe(path: KeyPath, written: Any, *, secret: bool = False) -> str:
    """Return the subject of a sentence about a value: ``timeout = "soon"``, or where it came from.

    :param written: the value as the file has it, a reference included
    :param secret: True if nothing of it may be shown
    """
    name = spell(path[-2:] if isinstance(path[-1], int) else path[-1:])
    match written:
        case EnvRef(name=variable):
            return f"{name}, from the environment variable {escape(variable)},"
        case FileRef(path=file):
            return f"{name}, from the file {quoted(str(file))},"
        case _ if secret or is_secret_name(path[-1]):
            return name
        case _:
            return f"{name} = {show(redact_value(written))}"


def secrets(table: Table, resolved: Mapping[str, Any]) -> set[str]:
    """Return every text in `resolved` that must not be printed: what references gave, and passwords."""
    return {text for text in _secrets(table.values, resolved, "") if text}


def _secrets(written: Any, value: Any, name: str | int) -> Iterator[str]:
    match written:
        case EnvRef() | FileRef():
            if isinstance(value, str):
                yield value
                yield from _passwords(value)
        case Mapping():
            for key, item in written.items():
                yield from _secrets(item, value[key], key)
        case list():
            for item, inner in zip(written, value, strict=True):
                yield from _secrets(item, inner, name)
        case str() if is_secret_name(name):
            yield written
        case str():
            yield from _passwords(written)


def _passwords(text: str) -> Iterator[str]:
    yield from (match["password"] for match in _USERINFO.finditer(text))
    yield from (match["token"] for match in _TOKEN.finditer(text))
    yield from (match["value"].strip("'") for match in _PAIR.finditer(text) if is_secret_name(match["head"]))


def scrub(message: str, hidden: set[str]) -> str:
    """Return `message` without any of the texts in `hidden`, nor a quoted part of one.

    Libraries quote what they could not parse, and that may be a piece of a secret.
    """
    for secret in sorted(hidden, key=len, reverse=True):
        for form in {secret, repr(secret)[1:-1], quoted(secret)[1:-1]}:
            message = message.replace(form, _MASK)

    def mask(match: re.Match[str]) -> str:
        inner = next(group for group in match.groups() if group is not None)
        return f"'{_MASK}'" if inner and any(inner in secret for secret in hidden) else match[0]

    return _QUOTED.sub(mask, message)
