"""The component that the README begins with, with the commands that it shows."""

import re
import subprocess
from pathlib import Path
from urllib.request import urlopen

import guests
from fences import ROOT, fences
from serving import COMMAND, serving

SHOP = ROOT / "examples" / "shop" / "shop.wasm"


def test_it_is_built_from_its_source() -> None:
    assert SHOP.read_bytes() == guests.component("kvhttp"), "copy tests/guests/built/kvhttp.wasm there"


def test_it_answers_as_its_page_says() -> None:
    (fence,) = fences(SHOP.with_name("README.md"), "sh")
    asked = re.findall(r"curl http://127.0.0.1:8080(\S+) +# (.*)\n", fence.text)
    with serving(SHOP, "--listen", "127.0.0.1:0") as url:
        for path, said in asked:
            with urlopen(url.rstrip("/") + path, timeout=20) as answer:
                assert answer.read().decode() == f"{said}\n"


def test_its_configuration_is_written_and_right(tmp_path: Path) -> None:
    for command in ("new host " + str(SHOP), "check"):
        done = subprocess.run(
            [COMMAND, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ok: 1 workload\n")
