"""Certificates for tests of TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wasmplex.testing.servers.binaries import ServerMissing

__all__ = ["self_signed"]


def self_signed(
    folder: Path,
    cert: str = "cert.pem",
    key: str = "key.pem",
    *,
    names: str = "DNS:localhost,IP:127.0.0.1",
    authority: bool = True,
) -> None:
    """Write a certificate that signs itself, and its key, both in PEM. It is good for two days.

    :param names: whose it is, as OpenSSL writes it
    :param authority: whether it may sign others; there are clients that take no such one for a server's
    :raises ServerMissing: without the command ``openssl``
    """
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}",
        *([] if authority else ["-addext", "basicConstraints=critical,CA:FALSE"]),
        "-keyout", key, "-out", cert,
    ]  # fmt: skip
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)  # noqa: S603
    except FileNotFoundError:
        raise ServerMissing("openssl is not installed") from None
