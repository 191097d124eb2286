"""Keeps secrets out of everything that is printed, logged or raised. The only module that does.

What is secret is said by the type of a setting: `wasmplex.settings.SecretStr`, `SecretUrl`, pydantic's other
secret types, and the credentials of its URL types. Nothing is guessed from names or looks. What others say,
client libraries in their errors, has the values that are known taken out, in whatever way they are written.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from wasmplex.errors import Diagnostic
from wasmplex.escaping import escape

__all__ = [
    "KNOWN", "MASK", "Known", "Redactor", "is_harmless_url", "is_secret_type", "is_url_type", "masked_url",
    "secrets_in", "url_secrets", "without_credentials",
]  # fmt: skip

MASK: Final = "***"
"""What stands in the place of a secret."""

_SHORT: Final = 4
"""Characters from which on a secret is taken out of the middle of a word as well."""
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)
_HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
_PLACE: Final = re.compile(
    rf"(?:{_HOST}(?:,(?:[A-Za-z][A-Za-z0-9+.-]*://)?{_HOST})*)?(?:/[^?#]*)?(?P<more>[?#].*)?", re.DOTALL
)
"""What may follow the credentials of a URL: servers, a path, and what is masked again."""
_HARMLESS: Final = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*://(?:{_HOST}(?:,(?:[A-Za-z][A-Za-z0-9+.-]*://)?{_HOST})*)?(?:/[!-~]*)?"
)
"""A URL, or several with commas between, of visible characters: servers, and a path behind them."""
_NEXT: Final = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_USERINFO: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
_AMBIGUOUS: Final = frozenset("/?#")
_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"|`([^`]*)`")


# ---------------------------------------------------------------- what is secret


def is_secret_type(type_: Any) -> bool:
    """Return whether values of a type are secret: those of pydantic's ``SecretStr``, ``Secret[...]``."""
    return hasattr(type_, "get_secret_value")


def is_url_type(type_: Any) -> bool:
    """Return whether a type is `wasmplex.settings.SecretUrl`, or one of pydantic's URLs."""
    if hasattr(type_, "get_secret_value"):
        return hasattr(type_, "shown")
    return hasattr(type_, "unicode_string") and str(getattr(type_, "__module__", "")).startswith("pydantic")


def secrets_in(value: Any) -> frozenset[str]:
    """Return the texts of everything secret in a settings model, however deep it stands."""
    return frozenset(text for text in _walk(value) if text)


def _walk(value: Any) -> Iterator[str]:
    type_ = type(value)
    if is_secret_type(type_):
        inner = value.get_secret_value()
        text = inner.decode(errors="replace") if isinstance(inner, bytes) else str(inner)
        yield from url_secrets(text) if is_url_type(type_) else (text,)
    elif is_url_type(type_):
        yield from url_secrets(str(value))
    elif hasattr(type_, "model_fields"):
        for name in type_.model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _walk(item)


def url_secrets(url: str) -> frozenset[str]:
    """Return what is secret in a URL, or in several with commas between: credentials, and values of a query.

    All of it, if it does not look like one.
    """
    found: set[str] = set()
    for one in {url, *_NEXT.split(url)}:
        match = _URL.fullmatch(one)
        if match is None:
            found.add(one)
            continue
        scheme = match["scheme"].casefold()
        # What a scheme begins with (redis://redis:redis@...) is shown with it, and in every message besides.
        found.update(part for part in _secret_parts(match["rest"]) if not _begins(scheme, part))
    return frozenset(found - {""})


def is_harmless_url(text: str) -> bool:
    """Return whether a text is beyond doubt a URL that has scheme, servers and path, and nothing else."""
    return _HARMLESS.fullmatch(text) is not None and not {*"@?#"} & {*text}


def _begins(scheme: str, part: str) -> bool:
    return len(part) >= _SHORT and scheme.startswith(part.casefold())


def _secret_parts(rest: str) -> Iterator[str]:
    userinfo, _, place = rest.rpartition("@")
    authority, _, more = _split_at(rest, "?#")
    for credentials in (userinfo, _split_at(authority, "/")[0].rpartition("@")[0]):
        password = credentials.partition(":")[2] or credentials
        yield from (credentials, password, unquote(credentials), unquote(password))
    if _AMBIGUOUS & {*userinfo}:  # what reads it may take a piece of a password for a host
        yield from re.split(r"[/?#:@,]", userinfo)
    for part in re.split(r"[&;#]", more):
        yield unquote_plus(part.partition("=")[2]) or part
    if _PLACE.fullmatch(place) is None:
        yield place


def _split_at(text: str, marks: str) -> tuple[str, str, str]:
    """Return what is before the first of some characters, that one, and what is behind it."""
    at = min((number for number, c in enumerate(text) if c in marks), default=len(text))
    return text[:at], text[at : at + 1], text[at + 1 :]


def masked_url(url: str) -> str:
    """Return a URL without its credentials, its query and its fragment, whatever characters are in them.

    Where it cannot be told what is what, because a ``/``, ``?`` or ``#`` is before an ``@``, nothing but the
    scheme is shown.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return MASK
    userinfo, at, place = match["rest"].rpartition("@")
    tail = _PLACE.fullmatch(place)
    if tail is None or _AMBIGUOUS & {*userinfo}:
        return f"{match['scheme']}{MASK}"
    more = tail["more"] or ""
    shown = place[: len(place) - len(more)] + (f"{more[0]}{MASK}" if more else "")
    return f"{match['scheme']}{MASK}@{shown}" if at else f"{match['scheme']}{shown}"


def without_credentials(value: Any) -> Any:
    """Return a value for a repr: pydantic's URLs, which show their credentials, without them."""
    if is_url_type(type(value)) and not is_secret_type(type(value)):
        return masked_url(str(value))
    if isinstance(value, Mapping):
        return {key: without_credentials(item) for key, item in value.items()}
    if type(value) in {list, tuple, set, frozenset}:
        return type(value)(without_credentials(item) for item in value)
    return value


# ---------------------------------------------------------------- what others say


class Redactor:
    """Takes secrets out of texts, however they are written there.

    As they are, percent-encoded, in base64, as Python, JSON or the log escape them, in any case of letters;
    and pieces of them that are quoted, for libraries quote what they could not parse. Secrets of less than
    four characters are taken out where they stand alone: else they would be everywhere.
    """

    __slots__ = ("__dict__", "secrets")

    def __init__(self, secrets: Iterable[str]) -> None:
        self.secrets = frozenset(secrets) - {""}

    def __repr__(self) -> str:
        return f"<Redactor of {len(self.secrets)} secrets>"

    def __bool__(self) -> bool:
        return bool(self.secrets)

    def text(self, text: str) -> str:
        """Return a text without any of the secrets, and without the credentials of any URL."""
        if self.secrets:
            text = self._pattern.sub(MASK, text)
            text = _QUOTED.sub(self._mask_piece, text)
        return _USERINFO.sub(rf"\g<scheme>{MASK}@", text) if "@" in text else text

    def error(self, error: BaseException) -> str:
        """Return the kind and the text of an exception, on one line."""
        return self.text(" ".join(f"{type(error).__name__}: {error}".split()))

    def diagnostic(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return a diagnostic with every part of it redacted."""
        parts = {part: self.text(getattr(diagnostic, part)) for part in ("what", "where", "why", "fix")}
        return replace(diagnostic, **parts, lines=tuple(map(self.text, diagnostic.lines)))

    @cached_property
    def _forms(self) -> frozenset[str]:
        return frozenset(form for secret in self.secrets for form in _forms(secret) if form)

    @cached_property
    def _plain(self) -> frozenset[str]:
        return frozenset(text for secret in self.secrets for text in _plain(secret))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        return re.compile("|".join(map(_anywhere, longest_first)), re.IGNORECASE)

    def _mask_piece(self, match: re.Match[str]) -> str:
        inner = next(group for group in match.groups() if group is not None)
        if not inner or inner == MASK or not any(inner in text for text in self._plain):
            return match[0]
        return f"'{MASK}'"


def _anywhere(form: str) -> str:
    pattern = re.escape(form)
    return pattern if len(form) >= _SHORT else rf"(?<!\w){pattern}(?!\w)"


def _plain(secret: str) -> tuple[str, ...]:
    """Return the ways to write a text in which it can still be read."""
    return (secret, secret.strip(), " ".join(secret.split()), escape(secret), repr(secret)[1:-1])


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which a text may be written."""
    data = secret.encode(errors="surrogatepass")
    yield from _plain(secret)
    yield from (ascii(secret)[1:-1], repr(data)[2:-1])
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (quote(data, safe=""), quote(data), quote_plus(data))
    if len(data) >= _SHORT:
        yield data.hex()
        yield from _in_base64(data)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what base64 has of some bytes, wherever among others they stand: ``user:password`` say."""
    for before in range(3):
        text = b64encode(bytes(before) + data).decode().rstrip("=")
        end = -1 if (before + len(data)) % 3 else None  # the last one depends on what follows
        core = text[(0, 2, 3)[before] : end]
        if len(core) > _SHORT:
            yield core
            yield core.replace("+", "-").replace("/", "_")


# ---------------------------------------------------------------- what is known


class Known:
    """The secrets that are in use in this process: the log knows them, whoever logs."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._redactor = Redactor(())
        self.forget = True
        """Whether what is not in use any more may be printed again; a command sets it to False."""

    @contextmanager
    def holding(self, secrets: Iterable[str]) -> Iterator[None]:
        """Know some secrets until the context ends."""
        held = [*secrets]
        self._add(held, 1)
        try:
            yield
        finally:
            if self.forget:
                self._add(held, -1)

    def _add(self, secrets: Iterable[str], number: int) -> None:
        with self._lock:
            for secret in secrets:
                self._count[secret] += number
            known = {secret for secret, count in self._count.items() if count > 0}
            self._count = Counter({secret: self._count[secret] for secret in known})
            self._redactor = Redactor(known)

    def __bool__(self) -> bool:
        return bool(self._redactor)

    def text(self, text: str) -> str:
        """Return a text without any of the secrets."""
        return self._redactor.text(text)

    def diagnostic(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return a diagnostic without any of the secrets."""
        return self._redactor.diagnostic(diagnostic)


KNOWN: Final = Known()
"""Those of this process."""
