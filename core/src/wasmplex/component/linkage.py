"""How the core instances of a component are linked: what each is made from, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wasmplex.component.binary import Cursor
from wasmplex.component.draft import Draft
from wasmplex.component.entities import Sort

__all__ = ["Bundle", "Linkage", "Made"]

_MODULE, _CORE_INSTANCE, _ALIAS = 1, 2, 6


@dataclass(frozen=True)
class Made:
    """A core instance made from a module.

    :ivar given: the index of the instance that serves each module name of its imports
    """

    module: int
    given: Mapping[str, int]


@dataclass(frozen=True)
class Bundle:
    """A core instance put together from definitions: core sort and index of each."""

    exports: Mapping[str, tuple[int, int]]


@dataclass
class Linkage:
    """The core instances of the outermost component.

    :ivar modules: where each core module lies in the file
    :ivar aliases: for each core sort, in the order of its index space: which export of which core instance
        it is. Tables, memories and globals of the component level are nothing else.
    """

    modules: list[tuple[int, int]] = field(default_factory=list)
    instances: list[Made | Bundle] = field(default_factory=list)
    aliases: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft) -> Linkage | None:
        """Read a component's linkage; None if it has modules from elsewhere: imports, or outer aliases."""
        linkage = cls()
        for section in draft.sections:
            cursor = draft.cursor(section.start, section.end)
            match section.number:
                case 1:
                    linkage.modules.append((section.start, section.end))
                case 2:
                    linkage.instances += [_instance(cursor) for _ in cursor.vec("core instances")]
                case 6:
                    for _ in cursor.vec("aliases"):
                        linkage._alias(cursor)
        if draft.sections and draft.sections[-1].counts[Sort.MODULE] != len(linkage.modules):
            return None
        return linkage

    def _alias(self, cursor: Cursor) -> None:
        core = cursor.byte("a sort") == 0
        sort = cursor.byte("a core sort") if core else -1
        target, instance = cursor.byte("the target of an alias"), cursor.u32("an index")
        if target == 0x02:
            cursor.u32("an index")
            return
        name = cursor.text("a name")
        if core and target == 0x01:
            self.aliases.setdefault(sort, []).append((instance, name))

    def origin(self, instance: int, sort: int, name: str) -> tuple[int, str] | None:
        """Follow an export of a core instance to the instance of a module that it comes from.

        :return: that instance, and the name of the export there; None if it is none of an instance's
        """
        while isinstance(found := self.instances[instance], Bundle):
            if name not in found.exports or found.exports[name][0] != sort:
                return None
            instance, name = self.aliases[sort][found.exports[name][1]]
        return instance, name


def _instance(cursor: Cursor) -> Made | Bundle:
    if cursor.byte("a core instance") == 0x00:
        module = cursor.u32("an index")
        given = {}
        for _ in cursor.vec("arguments"):
            name = cursor.text("a name")
            cursor.byte("a core sort")
            given[name] = cursor.u32("an index")
        return Made(module, given)
    return Bundle(
        {
            cursor.text("a name"): (cursor.byte("a core sort"), cursor.u32("an index"))
            for _ in cursor.vec("exports")
        }
    )
