"""What to type to change which distributions are installed: that depends on who made the environment.

wasmplex runs none of these commands. A host that is broken by a plugin could not, and pip is not there in
every environment.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["Installation", "installation", "published"]

_PIP_VERBS = {
    "install": "install",
    "upgrade": "install --upgrade",
    "reinstall": "install --force-reinstall",
    "uninstall": "uninstall",
}
_UV_FLAGS = {"upgrade": "--upgrade ", "reinstall": "--reinstall "}


@dataclass(frozen=True)
class Installation:
    """An environment, as far as its commands go.

    :ivar pip: how pip is called for it: ``pip``, ``/srv/host/bin/python -m pip``, ``uv pip --python ...``
    :ivar pipx: the name that pipx has for it; empty if pipx did not make it
    :ivar uv_tool: the name that ``uv tool`` has for it; empty if that did not make it
    :ivar with_: what was asked for besides the tool itself, which ``uv tool`` has to be told again
    """

    pip: str = "pip"
    pipx: str = ""
    uv_tool: str = ""
    with_: tuple[str, ...] = ()

    @classmethod
    def detect(cls, prefix: Path, executable: str, pip_on_path: str | None, has_pip: bool) -> Installation:
        """Find out who made an environment.

        :param prefix: its directory, `sys.prefix`
        :param executable: its Python, `sys.executable`
        :param pip_on_path: what the shell takes for ``pip``
        :param has_pip: whether pip is installed in it
        """
        if (prefix / "uv-receipt.toml").is_file():
            return cls(uv_tool=prefix.name, with_=_requirements(prefix / "uv-receipt.toml", prefix.name))
        if (prefix / "pipx_metadata.json").is_file():
            return cls(pipx=prefix.name)
        if not has_pip:
            return cls(f"uv pip --python {shlex.quote(executable)}")
        if pip_on_path and Path(pip_on_path).parent == Path(executable).parent:
            return cls()
        return cls(f"{shlex.quote(executable)} -m pip")

    def install(self, distribution: str) -> str:
        """Return the command that adds a distribution."""
        return self._command("install", distribution)

    def upgrade(self, *distributions: str) -> str:
        """Return the command that takes distributions to their newest version."""
        return self._command("upgrade", *distributions)

    def reinstall(self, distribution: str) -> str:
        """Return the command that puts the files of a distribution back."""
        return self._command("reinstall", distribution)

    def uninstall(self, distribution: str) -> str:
        """Return the command that removes a distribution."""
        return self._command("uninstall", distribution)

    def _command(self, verb: str, *distributions: str) -> str:
        if self.uv_tool:
            return self._uv_tool(verb, distributions)
        names = " ".join(shlex.quote(name) for name in distributions)
        if not self.pipx:
            return f"{self._pip(verb)} {names}"
        if verb in ("install", "uninstall"):
            return f"pipx {'inject' if verb == 'install' else 'uninject'} {self.pipx} {names}"
        return f"pipx runpip {self.pipx} {_PIP_VERBS[verb]} {names}"

    def _pip(self, verb: str) -> str:
        if self.pip.startswith("uv pip "):  # the option stands behind the verb
            verb = _PIP_VERBS[verb].replace("--force-reinstall", "--reinstall")
            return f"uv pip {verb} {self.pip.removeprefix('uv pip ')}"
        return f"{self.pip} {_PIP_VERBS[verb]}"

    def _uv_tool(self, verb: str, distributions: tuple[str, ...]) -> str:
        """``uv tool install`` makes an environment of what it is told, and of nothing else."""
        named = {canonicalize_name(name) for name in distributions}
        wanted = [name for name in self.with_ if canonicalize_name(name) not in named]
        if verb != "uninstall":
            wanted += [name for name in distributions if canonicalize_name(name) != self.uv_tool]
        with_ = "".join(f" --with {shlex.quote(name)}" for name in wanted)
        return f"uv tool install {_UV_FLAGS.get(verb, '')}{self.uv_tool}{with_}"


def _requirements(receipt: Path, tool: str) -> tuple[str, ...]:
    """Return what a receipt of ``uv tool`` names besides the tool."""
    try:
        found = tomllib.loads(receipt.read_text("utf-8"))["tool"]["requirements"]
        names = [str(requirement["name"]) for requirement in found]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if canonicalize_name(name) != canonicalize_name(tool))


@cache
def published() -> frozenset[str]:
    """Return the plugins of the project, by what stands behind ``host-plugin-``: what the extras name.

    No other name is offered for installation: anybody may have registered it.
    """
    try:
        requirements = requires("wasmplex") or ()
    except PackageNotFoundError:
        return frozenset()
    names = {Requirement(text).name for text in requirements}
    return frozenset(name.removeprefix("host-plugin-") for name in names if name.startswith("host-plugin-"))


def installation() -> Installation:
    """Return the environment that this process runs in."""
    has_pip = find_spec("pip") is not None
    return Installation.detect(Path(sys.prefix), sys.executable, shutil.which("pip"), has_pip)
