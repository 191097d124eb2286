"""Build the guest from its source: `python build.py`. The component goes to .build/photos.wasm."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPONENT = HERE / ".build" / "photos.wasm"


def main() -> None:
    compiler = Path(sys.executable).with_name("componentize-py")
    if not compiler.exists():
        sys.exit("componentize-py is missing; type: python -m pip install -r ../kv-cached/requirements.txt")
    COMPONENT.parent.mkdir(exist_ok=True)
    print("building, which takes about 15 seconds ...", flush=True)
    words = [
        "-q",
        "-d",
        HERE / "wit",
        "-w",
        "photos",
        "componentize",
        "-p",
        HERE / "python",
        "-o",
        COMPONENT,
        "app",
    ]
    if subprocess.run([compiler, *words], check=False).returncode:
        sys.exit(1)
    print(f"built {COMPONENT.name}: {COMPONENT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
