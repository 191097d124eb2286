"""Finds a configuration file and turns its bytes into a `Document`."""

from __future__ import annotations

import shlex
from pathlib import Path

from wasmplex.config.document import Document, Parsed, quoted
from wasmplex.errors import ConfigError, Diagnostic, nearest_file

__all__ = ["a_component_in", "find", "read", "read_all"]

_NAMES = ("host.toml", "host.yaml", "host.yml")
_SUFFIXES = (".toml", ".yaml", ".yml")
_MAX_SIZE = 2**20


def find(path: Path) -> Path:
    """Return the configuration file that `path` means: itself, or the one in the directory `path`.

    :raises ConfigError: there is none, or more than one
    """
    try:
        if not path.is_dir():
            return path
        found = [name for name in _NAMES if (path / name).is_file()]
    except OSError as error:  # a directory that may not be entered, a name that is too long
        raise _unreadable(path, error) from None
    except ValueError:
        raise ConfigError("the path of the configuration holds a NUL character") from None
    if not found:
        raise ConfigError(
            f"no configuration in the directory {quoted(str(path))}",
            why=f"there is no {', '.join(_NAMES[:-1])} or {_NAMES[-1]}",
            fix=_first_step(path),
        )
    if len(found) > 1:
        raise ConfigError(
            f"more than one configuration in the directory {quoted(str(path))}",
            why=f"there are {' and '.join(found)}",
            fix=f"wasmplex check {path / found[0]}",
        )
    return path / found[0]


def a_component_in(folder: Path) -> str:
    """Return a component in a directory, as one writes it in a shell; ``COMPONENT.wasm`` if there is none."""
    try:
        names = sorted(item.name for item in folder.iterdir() if item.suffix == ".wasm")
    except (OSError, ValueError):
        names = []
    return shlex.quote(str(folder / names[0])) if names else "COMPONENT.wasm"


def _first_step(folder: Path) -> str:
    """Return what to type where there is no configuration: a component is all that is needed to begin."""
    component = a_component_in(folder)
    into = "" if folder == Path() else f" --into {shlex.quote(str(folder))}"
    return f"wasmplex new host {component}{into} writes one; wasmplex run {component} needs none"


def read(path: Path) -> tuple[Document, list[Diagnostic]]:
    """Read and parse a file.

    :returns: the document, and what is wrong with it although the rest can be read
    :raises ConfigError: it cannot be read, is too large, not UTF-8, or not TOML or YAML
    """
    parsed = _parse(_text(path), path)
    return Document(str(path), parsed.values, parsed.lines), parsed.problems


def read_all(path: Path) -> list[Document]:
    """Read a file of somebody else's; one in YAML may have several documents.

    :raises ConfigError: as `read`, and for what is wrong although the rest can be read
    """
    if path.suffix.lower() in {".yaml", ".yml"}:
        from wasmplex.config import yaml

        every = yaml.parse_all(_text(path), str(path))
    else:
        every = [_parse(_text(path), path)]
    if problems := [problem for parsed in every for problem in parsed.problems]:
        raise ConfigError(problems)
    return [Document(str(path), parsed.values, parsed.lines) for parsed in every]


def _parse(text: str, path: Path) -> Parsed:
    match path.suffix.lower():
        case ".toml":
            from wasmplex.config import toml

            return toml.parse(text, str(path))
        case ".yaml" | ".yml":
            from wasmplex.config import yaml

            return yaml.parse(text, str(path))
        case suffix:
            raise ConfigError(
                f"{quoted(path.name)} is neither TOML nor YAML by its name",
                where=str(path),
                why=f"a configuration ends in {', '.join(_SUFFIXES)}",
                fix=f"mv {path} {path.with_suffix('.toml') if suffix else f'{path}.toml'}" * path.is_file(),
            )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise ConfigError("the path of the configuration holds a NUL character") from None
    if len(data) > _MAX_SIZE:
        raise ConfigError(f"{path} is too large", where=f"{path}:1", why=f"more than {_MAX_SIZE} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} is not UTF-8 text",
            where=f"{path}:{line}",
            why=f"the byte 0x{data[error.start]:02x} at offset {error.start} does not belong there",
            fix="" if b"\0" in data else f"iconv -f LATIN1 -t UTF-8 {path}",
        ) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    what = f"the configuration {quoted(str(path))} cannot be read"
    return ConfigError(what, why=(error.strerror or type(error).__name__).lower(), fix=_similar(path))


def _similar(path: Path) -> str:
    """Return a hint at the file that was meant, out of those that end like a configuration."""
    try:
        names = sorted(item.name for item in path.parent.iterdir() if item.suffix in _SUFFIXES)
        names = [name for name in names if name != path.name]  # a link that leads nowhere is there
    except OSError:
        return ""
    return nearest_file(path.name, names) if names else ""
