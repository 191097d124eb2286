"""Why pydantic refuses a value, in the words of a configuration file: its own are Python's, or patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from wasmplex.settings import parse_duration, parse_size

__all__ = ["KIND", "reason"]

_KINDS = {
    "an array": ("list_type", "tuple_type", "set_type", "frozen_set_type"),
    "a table": ("dict_type", "model_type", "model_attributes_type", "mapping_type"),
    "text": ("string_type", "path_type"),
    "true or false": ("bool_type", "bool_parsing"),
    "a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "a number": ("float_type", "float_parsing", "finite_number"),
}
KIND: Final = {error: kind for kind, errors in _KINDS.items() for error in errors}
"""What a value has to be, by the error that says that it is not."""

_BOUNDS = {
    "greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le",
}  # fmt: skip
_LENGTHS = {
    "too_short": ("min_length", "at least", "entry", "entries"),
    "too_long": ("max_length", "at most", "entry", "entries"),
    "string_too_short": ("min_length", "at least", "character", "characters"),
    "string_too_long": ("max_length", "at most", "character", "characters"),
}
_UNITS: dict[Any, Sequence[tuple[str, float]]] = {
    parse_size: (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)),
    parse_duration: (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001)),
}
_OF_ONE_CLASS = re.compile(r"\^\[(?P<but>\^?)(?P<of>(?:\\.|[^\]\\])+)\](?:\{1,(?P<most>\d+)\}|\+)\$")
_ITEM = re.compile(r"\\?.-\\?.|\\.|.")
_NAMES = {"A-Z": "capital letters", "a-z": "small letters", "0-9": "digits", r"\s": "spaces"}


def reason(error: ErrorDetails, fields: Sequence[FieldInfo] = ()) -> str:
    """Return why a value is refused.

    :param fields: the fields that it may be for: they say whether a bound is a size or a duration
    """
    type_, given = error["type"], error.get("ctx", {})
    if type_ in KIND:
        return f"must be {KIND[type_]}"
    if type_ in _LENGTHS:
        bound, extent, one, many = _LENGTHS[type_]
        return f"must have {extent} {given[bound]} {one if given[bound] == 1 else many}"
    if type_ == "string_pattern_mismatch":
        return _form(str(given["pattern"]))
    why = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    why = why.replace("Input should be ", "must be ").replace("Input should ", "must ")
    if type_ in _BOUNDS:
        bound = given[_BOUNDS[type_]]
        why = why.removesuffix(str(bound)) + _written(bound, fields)
    return why[:1].lower() + why[1:] if why[1:2].islower() else why


def _written(bound: float, fields: Sequence[FieldInfo]) -> str:
    """Return a bound as a file writes it: ``64MiB`` for a size."""
    parsers = {getattr(part, "func", None) for field in fields for part in _metadata(field)}
    for parser, units in _UNITS.items():
        for name, size in units if parser in parsers and bound else ():
            if bound % size == 0:
                return f"{bound / size:g}{name}"
    return str(bound)


def _metadata(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    for part in get_args(field.annotation):  # of Annotated[...] | None
        yield from getattr(part, "__metadata__", ())


def _form(pattern: str) -> str:
    """Return what a pattern asks for; in words where it is one class of characters."""
    match = _OF_ONE_CLASS.fullmatch(pattern)
    if match is None:
        return f"must have the form {pattern}"
    items = [item.group() for item in _ITEM.finditer(match["of"])]
    names = [_NAMES.get(item) or f"'{item.removeprefix(chr(92))}'" for item in items]
    if names[:2] == ["capital letters", "small letters"]:
        names[:2] = ["letters"]
    most = f", at most {match['most']} characters" if match["most"] else ""
    if match["but"]:
        return f"must not be empty, and have no {_listed(names, 'or')} in it{most}"
    return f"must be of {_listed(names, 'and')}{most}"


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else names[0]
