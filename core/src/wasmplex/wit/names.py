"""Names and versions of the component model: interface ids, semantic versions, labels, function names.

The grammar is that of ``externname`` in the component model's explainer; nested namespaces and packages
(``a:b:c/d/e``) and both kinds of version (``@0.2.6`` and the canonical ``@0.2``) are accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Literal, TypeAlias

__all__ = [
    "FunctionKind",
    "FunctionName",
    "InterfaceId",
    "SemVer",
    "compatible",
    "is_label",
    "track",
]

_LABEL = r"(?:[a-z][0-9a-z]*|[A-Z][0-9A-Z]*)(?:-(?:[0-9a-z]+|[0-9A-Z]+))*"
_WORDS = r"[a-z][0-9a-z]*(?:-[0-9a-z]+)*"
_LABEL_RE = re.compile(_LABEL)
_INTERFACE_RE = re.compile(rf"((?:{_WORDS}:)+)({_WORDS})((?:/{_LABEL})+)(?:@(.+))?")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_DOTTED = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER_RE = re.compile(
    rf"({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-({_DOTTED}))?(?:\+({_DOTTED}))?"
)
_FUNCTION_RE = re.compile(
    r"(?:\[(?P<marked>async )?(?P<kind>async|constructor|method|static)\])?(?:\[(?P<accessor>get|set)\])?"
    r"(?P<first>[^.\[\]]+)(?:\.(?P<second>[^.\[\]]+))?"
)

# A digit run longer than this is no version anybody published; it would only cost time to convert.
_MAX_VERSION = 256


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class SemVer:
    """A semantic version, ordered by precedence (build metadata takes no part in it).

    A canonical version leaves out what does not matter for compatibility (``0.2``, ``1``): `minor` and
    `patch` are None there, and count as 0 in comparisons.
    """

    major: int
    minor: int | None = None
    patch: int | None = None
    pre: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> SemVer:
        """Parse ``1.2.3-rc.1+build``, or a canonical ``1`` or ``0.2``.

        :raises ValueError: `text` is neither
        """
        match = _SEMVER_RE.fullmatch(text) if len(text) <= _MAX_VERSION else None
        if match is None:
            raise ValueError(f"{text[:_MAX_VERSION]!r} is not a version such as 0.2.6 or 1.0.0-rc.1")
        major, minor, patch, pre, build = match.groups()
        if patch is None and (pre or build):
            raise ValueError(
                f"{text!r} is not a version: the patch number is missing before {pre or build!r}"
            )
        return cls(
            int(major),
            None if minor is None else int(minor),
            None if patch is None else int(patch),
            tuple(pre.split(".")) if pre else (),
            build or "",
        )

    @property
    def track(self) -> str:
        """The canonical version: what has to be equal for two versions to be compatible."""
        if self.pre:
            return f"{self.major}.{self.minor}.{self.patch}-{'.'.join(self.pre)}"
        if self.major or self.minor is None:
            return str(self.major)
        if self.minor or self.patch is None:
            return f"0.{self.minor}"
        return f"0.0.{self.patch}"

    def _precedence(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return self.major, self.minor or 0, self.patch or 0, not self.pre, pre

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SemVer) and self._precedence() == other._precedence()

    def __hash__(self) -> int:
        return hash(self._precedence())

    def __lt__(self, other: SemVer) -> bool:
        return self._precedence() < other._precedence()

    def __str__(self) -> str:
        numbers = ".".join(str(n) for n in (self.major, self.minor, self.patch) if n is not None)
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return numbers + pre + (f"+{self.build}" if self.build else "")


@lru_cache(maxsize=1024)
def track(version: str | None) -> str:
    """Return the canonical version: ``0.2`` for 0.2.1 and 0.2.6, ``1`` for every 1.x, ``0.0.3`` for itself.

    A pre-release is a track of its own. No version gives an empty string.

    :raises ValueError: `version` is not a semantic version
    """
    return SemVer.parse(version).track if version else ""


@lru_cache(maxsize=4096)
def compatible(wanted: str | None, served: str | None) -> bool:
    """Return whether a host that serves the version `served` satisfies an import of `wanted`.

    Both have to be of one track, and the higher serves the lower: 0.2.12 serves every 0.2.x up to it. A
    canonical version (``0.2``) on either side stands for its whole track.

    :raises ValueError: one of them is not a semantic version
    """
    if not wanted or not served:
        return not wanted and not served
    want, serve = SemVer.parse(wanted), SemVer.parse(served)
    if want.track != serve.track:
        return False
    return want.patch is None or serve.patch is None or want <= serve


def is_label(text: str) -> bool:
    """Return whether `text` is a label: kebab case, each word all lower or all upper case (``is-XML``)."""
    return _LABEL_RE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class InterfaceId:
    """``namespace:package/interface@version``.

    :ivar namespace: ``wasi``; a nested one keeps its colons (``a:b``)
    :ivar package: ``keyvalue``
    :ivar interface: ``store``; nested ones keep their slashes (``a/b``)
    :ivar version: as written, or None
    """

    namespace: str
    package: str
    interface: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> InterfaceId:
        """Parse an interface id.

        :raises ValueError: `text` is not one; the message says what one looks like
        """
        match = _INTERFACE_RE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an interface id such as wasi:keyvalue/store@0.2.0-draft")
        namespaces, package, interface, version = match.groups()
        if version is not None:
            SemVer.parse(version)
        return cls(namespaces[:-1], package, interface[1:], version)

    @classmethod
    def try_parse(cls, text: str) -> InterfaceId | None:
        """Parse an interface id; None if `text` is something else, a label for instance."""
        try:
            return cls.parse(text)
        except ValueError:
            return None

    @property
    def package_name(self) -> str:
        """``namespace:package``."""
        return f"{self.namespace}:{self.package}"

    @property
    def track(self) -> str:
        """The canonical version; empty without a version. See `track`."""
        return track(self.version)

    def satisfied_by(self, served: InterfaceId) -> bool:
        """Return whether `served` is the same interface in a version that serves this one."""
        same = (self.package_name, self.interface) == (served.package_name, served.interface)
        return same and compatible(self.version, served.version)

    def serves(self, name: str) -> bool:
        """Return whether `name` is that of the same interface, in a version that this one serves."""
        wanted = InterfaceId.try_parse(name)
        return wanted is not None and wanted.satisfied_by(self)

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        return f"{self.package_name}/{self.interface}{version}"


FunctionKind: TypeAlias = Literal["function", "constructor", "method", "static"]

_KINDS: dict[str, FunctionKind] = {"method": "method", "static": "static"}
_ACCESSORS: dict[str, Literal["get", "set"]] = {"get": "get", "set": "set"}


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function's full name taken apart: ``[method]bucket.get`` is the method `get` of `bucket`.

    :ivar kind: what the annotation says; ``function`` without one
    :ivar resource: the resource it belongs to, None for a ``function``
    :ivar name: its own name; for a ``constructor`` that is the resource's
    :ivar marked_async: written in the older form ``[async method]``; newer components say so in the type
    :ivar accessor: ``get`` or ``set`` for ``[method][get]bucket.size``, which reads or writes a property
    """

    kind: FunctionKind
    resource: str | None
    name: str
    marked_async: bool = False
    accessor: Literal["get", "set"] | None = None

    @classmethod
    def parse(cls, text: str) -> FunctionName:
        """Take `text` apart. What has no known annotation is a plain ``function`` of that name."""
        match = _FUNCTION_RE.fullmatch(text)
        if match is None:
            return cls("function", None, text)
        kind, first, second = match["kind"], match["first"], match["second"]
        accessor = _ACCESSORS.get(match["accessor"])
        marked = bool(match["marked"]) or kind == "async"
        if kind in (None, "async") and not second and not match["marked"]:
            return cls("function", None, first, marked, accessor)
        if kind == "constructor" and not second and not accessor:
            return cls("constructor", first, first, marked)
        if kind in ("method", "static") and second:
            return cls(_KINDS[kind], first, second, marked, accessor)
        return cls("function", None, text)

    def __str__(self) -> str:
        accessor = f"[{self.accessor}]" if self.accessor else ""
        marker = "async " if self.marked_async else ""
        match self.kind:
            case "function":
                return f"{'[async]' if marker else ''}{accessor}{self.name}"
            case "constructor":
                return f"[{marker}constructor]{self.name}"
            case _:
                return f"[{marker}{self.kind}]{accessor}{self.resource}.{self.name}"
