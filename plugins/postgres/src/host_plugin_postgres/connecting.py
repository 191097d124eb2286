"""Connecting: where to, as whom, how safely; and finding out what the server is."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio
import asyncpg
from wasmplex.plugin import BackendError, NamedFiles, OpenContext

from host_plugin_postgres import PostgresSettings
from host_plugin_postgres.backend import Postgres
from host_plugin_postgres.codecs.catalogue import Catalogue
from host_plugin_postgres.failures import DRIVER_ERRORS, opening_failed
from host_plugin_postgres.link import Link, quoted
from host_plugin_postgres.pool import Pool
from host_plugin_postgres.urls import Target, parse, places

__all__ = ["connect"]

_OLDEST = 12


async def connect(settings: PostgresSettings, context: OpenContext) -> Postgres:
    """Open a database; everything is closed again if that fails."""
    dialer = Dialer(settings, context)
    await dialer.load()
    pool = Pool(dialer.link, settings.pool_size)
    try:
        with anyio.fail_after(settings.timeout):
            link = await pool.take("wasmplex")
            await dialer.look(link)
        await pool.finish(link, commit=False)
    except BaseException as error:
        await pool.close()
        if isinstance(error, (*DRIVER_ERRORS, ssl.SSLError)):
            raise opening_failed(error, dialer.where) from error
        raise
    return Postgres(pool, settings, dialer.where)


def _target(settings: PostgresSettings) -> Target:
    """Put together what the URL and the other settings say."""
    url = parse(settings.url.get_secret_value()) if settings.url else Target(())
    hosts = url.hosts
    if settings.host is not None:
        hosts = tuple(places(settings.host, settings.port))
    elif settings.port is not None:
        hosts = tuple((host, settings.port) for host, _ in hosts)
    password = settings.password.get_secret_value() if settings.password else url.password
    user = settings.user or url.user or "postgres"
    return Target(
        hosts or (("localhost", 5432),),
        user,
        password,
        settings.database or url.database or user,
        url.options,
    )


class Dialer:
    """Opens connections as the settings say.

    :ivar where: the servers and the database, for messages
    """

    def __init__(self, settings: PostgresSettings, context: OpenContext) -> None:
        self._settings = settings
        self._context = context
        self._target = _target(settings)
        self._catalogue = Catalogue()
        self._plain = False
        self._tls: ssl.SSLContext | None = None
        hosts = ",".join(f"{host}:{port}" for host, port in self._target.hosts)
        self.where = f"{hosts}/{self._target.database}"

    @property
    def _mode(self) -> str:
        return self._settings.tls or self._target.options.get("sslmode", "prefer")

    async def load(self) -> None:
        """Read the files of TLS."""
        if self._mode != "disable":
            self._tls = await self._context_of(self._mode)

    async def _context_of(self, mode: str) -> ssl.SSLContext:
        base, options, settings = self._context.base, self._target.options, self._settings

        def file(path: Path | None, key: str) -> Path | None:
            named = path or (Path(options[key]) if options.get(key) else None)
            return base / named if named else None

        authorities = file(settings.ca_file, "sslrootcert")
        certificate, private = file(settings.cert_file, "sslcert"), file(settings.key_file, "sslkey")
        with NamedFiles("the Postgres database", settings.timeout, prefix="") as files:
            context = await files.tls(authorities, certificate, private)
        # As libpq: with a certificate to trust, "require" checks it too.
        verify = mode in ("verify-ca", "verify-full") or (mode == "require" and authorities is not None)
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        return context

    async def link(self, user: str) -> Link:
        """Open a connection for a user; a password that was refused is read again."""
        try:
            connection = await self._dial(user)
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            fresh = _target(await self._context.settings_now(self._settings))
            if fresh == self._target:
                raise
            self._target = fresh
            connection = await self._dial(user)
        named = self._settings.prepared_statements
        try:
            return Link(
                connection,
                self._catalogue,
                user,
                named=named,
                opening=self._opening(),
                shown=self._settings.application_name,
            )
        except BaseException:
            connection.terminate()
            raise

    async def _dial(self, user: str) -> Any:
        if self._mode == "prefer" and not self._plain:
            try:
                return await self._open(user, self._tls)
            except (ConnectionError, ssl.SSLError) as error:
                if "SSL" not in str(error).upper():
                    raise
            connection = await self._open(user, None)
            self._plain = True  # the server has no TLS
            return connection
        return await self._open(user, None if self._mode == "disable" or self._plain else self._tls)

    async def _open(self, user: str, tls: ssl.SSLContext | None) -> Any:
        target = self._target
        attrs = self._settings.target_session_attrs or target.options.get("target_session_attrs", "any")
        return await asyncpg.connect(
            host=[host for host, _ in target.hosts],
            port=[port for _, port in target.hosts],
            user=target.user,
            password=target.password or "",
            database=target.database,
            ssl=tls or False,
            timeout=self._settings.timeout,
            statement_cache_size=0,
            target_session_attrs=attrs,
            server_settings=self._session(user) if self._settings.prepared_statements else None,
        )

    def _name(self, user: str) -> str:
        return self._settings.application_name or user

    def _session(self, user: str) -> dict[str, str]:
        """Return what each session begins with, and is reset to."""
        return {"application_name": self._name(user), **self._options()}

    def _options(self) -> dict[str, str]:
        settings = self._settings
        options = {"statement_timeout": f"{round(settings.statement_timeout * 1000)}"}
        if settings.role is not None:
            options["role"] = settings.role
        if settings.search_path is not None:
            options["search_path"] = settings.search_path
        return options

    def _opening(self) -> str:
        """Return the same as statements, for transactions whose session is anybody's."""
        options = self._options()
        path = options.pop("search_path", None)
        lines = [f"SET LOCAL {name} = {quoted(value)};" for name, value in options.items()]
        return "".join([*lines, f"SET LOCAL search_path = {path};" if path else ""])

    async def look(self, link: Link) -> None:
        """See what the server is: its version, and how many digits its money has."""
        version = link.connection.get_server_version()
        if version.major < _OLDEST:
            raise BackendError(
                f"the server at {self.where} is PostgreSQL {version.major}",
                why=f"this plugin needs {_OLDEST} or newer",
                fix="upgrade the server",
            )
        ((amount,),) = await link.texts("SELECT 1::money::numeric")
        self._catalogue.codecs.money_scale = len(amount.partition(b".")[2])
