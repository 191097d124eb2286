"""What to do about a name that no plugin offers, or that two do."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from wasmplex.errors import PluginError, nearest
from wasmplex.plugins.entry import PluginEntry
from wasmplex.plugins.identity import Group
from wasmplex.plugins.installation import installation, published

__all__ = ["collision", "remedy"]


def remedy(group: Group, name: str, installed: Sequence[str]) -> str:
    """Return what to do about a name that no plugin offers: a name that is meant, or a plugin of ours."""
    if (guess := nearest(name, installed)).startswith("did you"):
        return guess
    ours = published() if group is Group.BACKENDS else frozenset[str]()
    found = name if name in ours else next(iter(get_close_matches(name, sorted(ours), n=1)), None)
    if found is None:
        return f"install the plugin that offers the {group.noun} {name!r}"
    install = installation().install(f"host-plugin-{found}")
    return install if found == name else f"did you mean {found!r}? {install}"


def collision(group: Group, selector: str, entries: Sequence[PluginEntry]) -> PluginError:
    """Return the error for a name that several plugins offer."""
    name = selector.partition("@")[0]
    owners = " and by ".join(e.identity.requirement for e in entries)
    fix = f"disable one: WASMPLEX_DISABLE_PLUGINS={entries[-1].identity.distribution}"
    if group is Group.BACKENDS:
        fix = f'write backend = "{name}@{entries[0].identity.distribution}"'
    return PluginError(f"{group.noun} {name!r} is offered by {owners}", fix=fix)
