"""Building blocks for settings models: the base class and the value types that a config file may use.

A backend's settings are a subclass of `Settings`; the host fills it from the binding's table and points
at file and line when a value is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import distributions
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, create_model

from wasmplex.logs import get_logger
from wasmplex.redaction import masked_url, without_credentials

__all__ = [
    "MAX_COUNT", "Address", "Count", "Duration", "OwnWords", "SecretStr", "SecretUrl", "Settings", "Size",
    "parse_address", "parse_count", "parse_duration", "parse_size", "positive",
]  # fmt: skip

_NUMBER = re.compile(r"\s*(?P<number>[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?P<unit>[A-Za-z]*)\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
          "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}  # fmt: skip
_MAX_DURATION = 3650 * 86400.0  # what timers of event loops and databases can hold
MAX_COUNT = 1_000_000_000
"""The most that something counted may be."""
_MAX_SIZE = 2**62  # what signed 64-bit lengths can hold, with room to add two of them


class OwnWords(ValueError):
    """Raised by a validator whose text is its own and quotes nothing of the value.

    It is shown as it is. Of other errors the secrets of the table are taken out, and the name of a user in a
    URL may be a word of the text: ``the URL must start with ***ql://``.
    """


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> Address:
    """Return the address in ``"127.0.0.1:80"``, ``"[::1]:80"``, ``"localhost:0"``; port 0 is any free one.

    :raises ValueError: for anything else
    """
    if isinstance(value, Address):
        return value
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError('not an address; write it like "127.0.0.1:8080", "0.0.0.0:80" or "[::1]:8080"')
    return Address(host[1:-1] if bracketed else host, int(port))


def parse_duration(value: Any) -> float:
    """Return seconds from ``"10s"``, ``"250ms"``, ``"5m"``, ``"1h"``, ``"1d"`` or a plain number of seconds.

    :raises ValueError: for anything else, negative, infinite and longer than ten years included
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        seconds = value
    else:
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is None or match["unit"] not in _SECONDS:
            raise ValueError('not a duration; write it like "250ms", "10s", "5m" or "1h"')
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if seconds > _MAX_DURATION:
        raise ValueError('longer than ten years; write it like "10s" or "1h"')
    return float(seconds)


def parse_size(value: Any) -> int:
    """Return bytes from ``"64KiB"``, ``"256MiB"``, ``"1GiB"``, ``"10MB"`` or a plain number of bytes.

    :raises ValueError: for anything else, negative and more than 4 EiB included
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    else:
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is None or match["unit"] not in _BYTES:
            raise ValueError('not a size; write it like "64KiB", "256MiB" or "1GiB"')
        size = int(Decimal(match["number"]) * _BYTES[match["unit"]])
    if size > _MAX_SIZE:
        raise ValueError('more than 4EiB; write it like "64KiB", "256MiB" or "1GiB"')
    return size


def parse_count(value: Any) -> Any:
    """Let the text of digits through that an environment variable or a file has.

    :raises ValueError: for true and false, which Python takes for numbers
    """
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  pydantic collects ValueErrors
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value) else value


def positive(value: float) -> float:
    """Return `value`.

    :raises ValueError: if it is 0
    """
    if not value:
        raise ValueError("must be more than 0")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; written as ``"10s"``, ``"250ms"``, ``"5m"``, ``"1h"`` or a number of seconds."""

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; written as ``"64KiB"``, ``"256MiB"``, ``"1GiB"`` or a number of bytes."""


class SecretUrl(SecretStr):
    """A URL, or several with commas between, that may hold credentials.

    Scheme, servers and path are shown, ``redis://***@127.0.0.1:6379/0``; userinfo, query and fragment never,
    whatever characters are in them.
    """

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return masked_url(self.get_secret_value())

    def _display(self) -> str:
        return self.shown


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=1, le=MAX_COUNT)]
"""A whole number from 1 on."""


def _make_first_model() -> None:
    """Make a model and throw it away, and say what is wrong with plugins for pydantic if that fails.

    With the first model of a process pydantic reads the entry points of every distribution there is, and
    imports those that are plugins for it. A package that has nothing to do with wasmplex would end it so.
    """
    try:
        create_model("First")
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever somebody else's package does
        cause = next(_unreadable_entry_points(), "") or f"{type(error).__name__}: {error}"
        get_logger("wasmplex.plugins").warning("plugins for pydantic are not used: %s", cause)
    else:
        return
    try:
        create_model("Second")  # pydantic goes on with the plugins that it had found by then
    except (Exception, SystemExit):  # noqa: BLE001
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"


def _unreadable_entry_points() -> Iterator[str]:
    for distribution in distributions():
        try:
            _ = distribution.entry_points
        except Exception as error:  # noqa: BLE001  malformed in whatever way
            try:
                name = distribution.metadata["Name"]
            except Exception:  # noqa: BLE001
                name = "a distribution without a name"
            place = distribution.locate_file("")
            yield f"entry_points.txt of {name} in {place} is malformed ({type(error).__name__}: {error})"


_make_first_model()


class Settings(BaseModel):
    """Base of every settings model: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, allow_inf_nan=False
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield what the repr shows: pydantic's URLs without their credentials."""
        for name, value in super().__repr_args__():
            yield name, without_credentials(value)
