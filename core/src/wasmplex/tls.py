"""TLS to a server, from the files that settings name."""

from __future__ import annotations

import ssl
from pathlib import Path

from wasmplex.errors import BackendError

__all__ = ["client_tls", "unusable"]

_NO_CERTIFICATE = "it has no certificate in PEM"


def client_tls(
    what: str,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    *,
    prefix: str = "tls_",
) -> ssl.SSLContext:
    """Return the TLS of a client, which trusts what the system trusts if no file says otherwise.

    It reads files, which blocks where their disk does not answer: `NamedFiles.tls` calls it in a thread.

    :param what: whose files they are, for errors: ``the Redis store``
    :param ca_file: certificates to trust
    :param cert_file: what the client shows
    :param key_file: the key of that; none if it is in the same file
    :param prefix: what stands before ``ca_file``, ``cert_file`` and ``key_file`` in the settings
    :raises BackendError: that says which file cannot be used, and why
    """
    files = _Files(what, prefix)
    for key, path in (("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)):
        files.check(key, path)
    context = ssl.create_default_context() if ca_file is None else files.trusting(ca_file)
    if cert_file is not None:
        files.show(context, cert_file, key_file)
    return context


def unusable(what: str, key: str, path: Path, why: str, fix: str = "") -> BackendError:
    """Return the error for a file that a setting names.

    :param what: whose it is: ``the Redis store``
    :param fix: what to do; another file if empty
    """
    return BackendError(f"{key} of {what} cannot be used: {path}", why=why, fix=fix or f'{key} = "..."')


class _Files:
    """Says of a file which setting it is of."""

    def __init__(self, what: str, prefix: str) -> None:
        self._what = what
        self._prefix = prefix

    def unusable(self, key: str, path: Path, why: str) -> BackendError:
        return unusable(self._what, self._prefix + key, path, why)

    def check(self, key: str, path: Path | None) -> None:
        """Have the system say what it has against a file: TLS does not say of which it speaks."""
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise self.unusable(key, path or Path(), (error.strerror or str(error)).lower()) from error

    def trusting(self, path: Path) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise self.unusable("ca_file", path, _NO_CERTIFICATE) from error

    def show(self, context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
        asked = False

        def no_password() -> bytes:
            nonlocal asked
            asked = True
            return b""

        try:
            context.load_cert_chain(cert, key, no_password)  # without one, it is asked for on the terminal
        except (OSError, ssl.SSLError, ValueError) as error:
            name, path = ("cert_file", cert) if key is None else ("key_file", key)
            if not _has_certificate(cert):
                raise self.unusable("cert_file", cert, _NO_CERTIFICATE) from error
            if asked:
                why = "the key needs a password, and there is nobody to ask"
            elif getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                why = "it is the key of another certificate"
            else:
                why = "it has no private key in PEM"
            raise self.unusable(name, path, why) from error


def _has_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        return False
    return True
