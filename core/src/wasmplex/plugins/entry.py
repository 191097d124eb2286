"""One plugin in the registry: where it comes from, how it fares, what it brought."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from wasmplex.errors import PluginError
from wasmplex.logs import get_logger
from wasmplex.plugins.blame import root_of
from wasmplex.plugins.discovery import Candidate, Handshake
from wasmplex.plugins.identity import Group, PluginIdentity, PluginState, PluginStatus
from wasmplex.plugins.installation import installation
from wasmplex.plugins.loading import LoadFailure, import_file, import_object, load_object
from wasmplex.plugins.validation import Contribution

__all__ = ["IN_PROCESS", "PluginEntry"]

IN_PROCESS = "in process"

logger = get_logger("wasmplex.plugins")


class PluginEntry:
    """A plugin and its state, which changes once: from available to ready or failed.

    :param find: imports the plugin object
    :param offers: what its metadata announces; None if that is only known once it is loaded
    """

    def __init__(
        self,
        identity: PluginIdentity,
        find: Callable[[], Any],
        *,
        module: str = "",
        offers: Mapping[Group, tuple[str, ...]] | None = None,
        handshake: Callable[[], Handshake] = Handshake,
        builtin: bool = False,
        in_process: bool = False,
    ) -> None:
        self.identity = identity
        self.module = module
        self.builtin = builtin
        self.in_process = in_process
        self.contribution = Contribution()
        self.detail = ""
        self.root = ""
        self._find = find
        self._announced = offers
        self._handshake = handshake
        self._state = PluginState.AVAILABLE
        self._cause = ""
        self._fix = ""
        self._seconds: float | None = None
        self._unsaid = False

    @classmethod
    def of_candidate(cls, candidate: Candidate) -> PluginEntry:
        """Make the entry of an installed plugin."""
        entry = cls(
            candidate.identity,
            partial(import_object, candidate.value, candidate.identity),
            module=candidate.value,
            offers=candidate.offers,
            handshake=lambda: candidate.handshake,
            builtin=candidate.builtin,
        )
        if candidate.broken:
            entry._fail(candidate.broken, installation().reinstall(candidate.identity.distribution))
        return entry

    @classmethod
    def of_file(cls, path: Path) -> PluginEntry:
        """Make the entry of a one-file plugin."""
        identity = PluginIdentity(path.stem, path.name)
        return cls(identity, partial(import_file, path, identity), module=str(path))

    @classmethod
    def of_object(cls, plugin: object, name: str) -> PluginEntry:
        """Make the entry of an object of this process."""
        return cls(PluginIdentity(name, IN_PROCESS), lambda: plugin, in_process=True)

    @property
    def offers(self) -> Mapping[Group, tuple[str, ...]]:
        """The names it can be asked for by."""
        return self.contribution.offers if self._announced is None else self._announced

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name and every one that it offers."""
        return (self.identity.name, *(name for names in self.offers.values() for name in names))

    @property
    def state(self) -> PluginState:
        """Where it stands; finds out from the metadata whether it is compatible, without an import."""
        if self._state is PluginState.AVAILABLE and self._handshake().cause:
            self._state, self._cause = PluginState.INCOMPATIBLE, self._handshake().cause
            self._fix = installation().upgrade(self.identity.distribution, "wasmplex")
        return self._state

    @property
    def cause(self) -> str:
        """One line that says why it cannot be used, empty if it can."""
        return self._cause if self.state not in (PluginState.READY, PluginState.AVAILABLE) else ""

    def is_of(self, distribution: str) -> bool:
        """Return whether it came from this distribution, however that is spelt."""
        return canonicalize_name(distribution) == canonicalize_name(self.identity.distribution)

    def disable(self, cause: str) -> None:
        """Switch it off, unless `cause` is empty."""
        if cause:
            self._state, self._cause = PluginState.DISABLED, cause
            self._fix = "leave it out of WASMPLEX_DISABLE_PLUGINS, or run without --no-plugins"

    def load(self) -> bool:
        """Import and register it; a failure is remembered. Return whether it is ready."""
        started = time.perf_counter()
        try:
            found = self._find()
            self.contribution = load_object(found)
            self.root = root_of(found)
        except LoadFailure as failure:
            self._fail(failure.cause, failure.fix, failure.detail)
            self._unsaid = True
            logger.debug("%s", self.detail)
        else:
            self._state = PluginState.READY
        self._seconds = time.perf_counter() - started
        return self._state is PluginState.READY

    def error(self, what: str) -> PluginError:
        """Return the error for those who ask for it while it cannot be used."""
        fix = self._fix or f"mend it, or go without it: WASMPLEX_DISABLE_PLUGINS={self.identity.name}"
        return PluginError(what, where=str(self.identity), why=self.cause, fix=fix)

    def warn_once(self) -> None:
        """Log why it could not be loaded, if that has not been logged."""
        if self._unsaid:
            self._unsaid = False
            logger.warning("%s: %s", self.identity, self.cause)

    def status(self) -> PluginStatus:
        """Return its row for ``wasmplex plugins list``."""
        return PluginStatus(
            self.identity,
            self.state,
            self.cause,
            self.module,
            self.offers,
            self.contribution.describe(),
            self._handshake().requires,
            self.builtin,
            self._seconds,
            self.detail,
            self.contribution.capabilities,
        )

    def _fail(self, cause: str, fix: str = "", detail: str = "") -> None:
        self._state, self._cause, self._fix, self.detail = PluginState.FAILED, cause, fix, detail
