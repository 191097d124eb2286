"""TLS from the files of settings: which of them cannot be used, and why."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from wasmplex.errors import BackendError
from wasmplex.testing.servers import ServerMissing
from wasmplex.testing.servers.certificates import self_signed
from wasmplex.tls import client_tls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two certificates and their keys; the second key has a password as well."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("a", "b"):
        try:
            self_signed(folder, f"{name}.pem", f"{name}.key")
        except ServerMissing as error:
            pytest.skip(str(error))
        lock = ["openssl", "pkey", "-in", f"{name}.key", "-aes256", "-passout", "pass:x"]
        subprocess.run([*lock, "-out", f"{name}.locked"], cwd=folder, check=True, capture_output=True)
    both = (folder / "a.pem").read_bytes() + (folder / "a.key").read_bytes()
    (folder / "both.pem").write_bytes(both)
    (folder / "empty").touch()
    return folder


def in_folder(folder: Path, files: Iterable[str | None]) -> list[Path | None]:
    return [folder / file if file else None for file in files]


@pytest.mark.parametrize(
    ("files", "which", "why"),
    [
        (("none.pem", None, None), "tls_ca_file", "no such file or directory"),
        ((".", None, None), "tls_ca_file", "is a directory"),
        (("a.key", None, None), "tls_ca_file", "it has no certificate in PEM"),
        (("empty", None, None), "tls_ca_file", "it has no certificate in PEM"),
        (("a.pem", "none.pem", "a.key"), "tls_cert_file", "no such file or directory"),
        (("a.pem", "a.pem", "none.key"), "tls_key_file", "no such file or directory"),
        ((None, "a.key", "a.pem"), "tls_cert_file", "it has no certificate in PEM"),
        ((None, "a.pem", "b.key"), "tls_key_file", "it is the key of another certificate"),
        ((None, "a.pem", "b.pem"), "tls_key_file", "it has no private key in PEM"),
        ((None, "a.pem", None), "tls_cert_file", "it has no private key in PEM"),
        ((None, "a.pem", "a.locked"), "tls_key_file", "the key needs a password, and there is nobody to ask"),
    ],
)
def test_a_file_that_cannot_be_used(
    folder: Path, files: tuple[str | None, ...], which: str, why: str
) -> None:
    with pytest.raises(BackendError) as caught:
        client_tls("the store", *in_folder(folder, files))
    (told,) = caught.value.diagnostics
    assert (told.what.split(":")[0], told.why) == (f"{which} of the store cannot be used", why)
    assert told.fix == f'{which} = "..."'
    with pytest.raises(BackendError, match=f"^{which.removeprefix('tls_')} of"):
        client_tls("the store", *in_folder(folder, files), prefix="")


def test_files_that_can(folder: Path) -> None:
    for files in ((None, None, None), ("a.pem", "a.pem", "a.key"), (None, "both.pem", None)):
        context = client_tls("the store", *in_folder(folder, files))
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
