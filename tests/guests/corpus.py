"""Record what an independent tool, `wasm-tools component wit --json`, reads in the guests.

    python tests/guests/corpus.py       write corpus/NAME.json for every guest

The tests compare `wasmplex.component.read` with these files; they need no wasm-tools themselves.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import guests
from guests import build, toolchain

CORPUS = Path(__file__).resolve().parent / "corpus"


def main() -> None:
    """Write a file for each guest; complain about those that cannot be compiled here."""
    CORPUS.mkdir(exist_ok=True)
    for name in guests.names():
        record(name, guests.path(name))
    for name in toolchain.GUESTS:
        try:
            record(name, toolchain.build(name))
        except toolchain.ToolchainMissing as missing:
            print(f"{name}: left as it was, {missing}")


def record(name: str, component: Path) -> None:
    """Write what wasm-tools says, as it says it, without its white space."""
    command: list[str | Path] = [build.wasm_tools(), "component", "wit", "--json", component]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    target = CORPUS / f"{name}.json"
    target.write_text(json.dumps(json.loads(said), separators=(",", ":")) + "\n")
    print(f"{name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
