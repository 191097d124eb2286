"""What `wasmplex new plugin` makes is right: installed where no clone is, its tests, lint and types pass."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from wasmplex.cli.new import plugin_command
from wasmplex.testing.loops import everything

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "plugin-template"
(CAPABILITY,) = (param for param in plugin_command.params if param.name == "capability")
VARIANTS = list(CAPABILITY.type.choices)  # type: ignore[attr-defined]
NEEDS = {"postgres": "postgres", "blobstore": "wasi"}
"""Plugins of ours that a variant needs: on no index yet."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory outside the clone with a virtual environment that has the built wheel of wasmplex."""
    home = tmp_path_factory.mktemp("fresh")
    wheels = home / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, ROOT / "core", cwd=home)
    venv.create(home / "venv", with_pip=True)
    (wheel,) = wheels.glob("wasmplex-*.whl")
    run(home / "venv/bin/python", "-m", "pip", "install", "-q", wheel, cwd=home)
    return home


@pytest.mark.skipif(
    not everything(), reason="each takes up to a minute, and test_from_wheels makes one: make test-all does"
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_made_passes_its_own_tests(fresh: Path, variant: str) -> None:
    if (other := NEEDS.get(variant)) is not None:
        wheels, source = fresh / "wheels", ROOT / "plugins" / other
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, source, cwd=fresh)
        run(fresh / "venv/bin/python", "-m", "pip", "install", "-q", *wheels.glob(f"*{other}*"), cwd=fresh)
    python, name = fresh / "venv/bin/python", f"acme-{variant}"
    said = run(fresh / "venv/bin/wasmplex", "new", "plugin", name, "--capability", variant, cwd=fresh)
    plugin = fresh / f"host-plugin-{name}"
    assert [line.split(" -m ")[-1] for line in said.splitlines()[2:]] == ["pip install -e .[dev]", "pytest"]
    run(python, "-m", "pip", "install", "-q", "-e", ".[dev]", cwd=plugin)
    assert " passed" in run(python, "-m", "pytest", "-q", f"--basetemp={fresh}/tmp", cwd=plugin)
    run(python, "-m", "ruff", "check", ".", cwd=plugin)
    run(python, "-m", "ruff", "format", "--check", ".", cwd=plugin)
    run(python, "-m", "mypy", cwd=plugin)
    where = run(python, "-c", "import wasmplex; print(wasmplex.__file__)", cwd=plugin)
    assert str(ROOT) not in where


def test_the_template_is_as_short_as_it_claims() -> None:
    store = (TEMPLATE / "src/host_plugin_example/store.py").read_text()
    assert len([line for line in store.splitlines() if line.strip()]) < 60
    kit = (TEMPLATE / "tests/test_conformance.py").read_text()
    body = kit.partition("class ")[2]
    assert len(body.splitlines()) < 10


def test_the_word_example_is_nothing_but_the_name() -> None:
    """It is replaced wherever it stands: no sentence may have it in another sense."""
    for path in TEMPLATE.rglob("*"):
        if path.suffix in {".md", ".py", ".toml", ".wit", ".yml"} and ".venv" not in path.parts:
            assert not re.search(r"\b(for|an) example\b|examples(?! = )", path.read_text()), path
