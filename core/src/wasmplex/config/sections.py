"""The models of the tables that the host itself owns: ``[host]``, ``[engine]``, ``[workload.<name>]``."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from wasmplex.plugins.limits import Limits
from wasmplex.settings import (
    MAX_COUNT,
    Address,
    Count,
    Duration,
    Settings,
    Size,
    parse_address,
    parse_count,
    positive,
)
from wasmplex.wit.names import InterfaceId, SemVer, is_label

__all__ = [
    "NESTED",
    "AdminSection",
    "BindingSection",
    "EngineSection",
    "HostInterfaceSection",
    "HostSection",
    "LogSection",
    "MiddlewareSection",
    "PluginsSection",
    "WorkloadSection",
    "check_label",
    "check_package",
    "check_workload_name",
]

NESTED = ("env", "trigger", "import", "default")
"""Tables within a workload's whose keys the user chooses; each is read on its own."""

_WORKLOAD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PACKAGE = re.compile(r"(?P<namespace>[^:/@]+(?::[^:/@]+)*):(?P<name>[^:/@]+)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]|\*")


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return _without_nul(value)


def check_label(value: str) -> str:
    """Return `value` if it is a label.

    :raises ValueError: it is not
    """
    if not is_label(value):
        raise ValueError(
            "not a name such as cache or session-store: words of letters and digits with - between"
        )
    return value


def check_workload_name(value: str) -> str:
    """Return `value` if it may name a workload.

    :raises ValueError: it may not
    """
    if not _WORKLOAD_NAME.fullmatch(value):
        raise ValueError(
            "a workload's name has 1 to 63 letters, digits, - and _, and starts with none of these two"
        )
    return value


def check_package(value: str) -> str:
    """Return `value` if it is the name of a WIT package, ``wasi:keyvalue``.

    :raises ValueError: it is not; an interface or a version belongs in a key of its own
    """
    name, at, version = value.partition("@")
    package, slash, interface = name.partition("/")
    match = _PACKAGE.fullmatch(package)
    if match is None or not all(is_label(part) for part in package.split(":")):
        raise ValueError("not a package such as wasi:keyvalue")
    if slash or at:
        keys = [f'interfaces = ["{interface}"]'] * bool(slash) + [f'version = "{version}"'] * bool(at)
        raise ValueError(f"a package alone; write {package} and the key {' and '.join(keys)}")
    return value


def _package_or_interface(value: str) -> str:
    name, at, version = value.partition("@")
    if "/" in name:
        InterfaceId.parse(value)
    else:
        check_package(name)
        if at:
            SemVer.parse(version)
    return value


def _version(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f'must be text; write version = "{value}"')  # noqa: TRY004  as above
    if isinstance(value, str):
        SemVer.parse(value)
    return value


def _interface_id(value: str) -> str:
    InterfaceId.parse(value)
    return value


def _granted(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("an empty list grants nothing; leave the key out to grant every interface")
    return value


def _guest_path(value: str) -> str:
    if not value.startswith("/") and value != ".":
        raise ValueError('a path in the guest starts with /; write "/data"')
    return value


def _allowed_host(value: str) -> str:
    if "/" in value:
        raise ValueError('a host alone, without scheme and path; write "example.com" or "example.com:8443"')
    host, colon, port = value, "", ""
    if not value.endswith("]"):
        host, colon, port = value.rpartition(":") if ":" in value else (value, "", "")
    if (
        not _HOST.fullmatch(host)
        or (colon and not re.fullmatch("[1-9][0-9]{0,4}", port))
        or int(port or 0) > 65535
    ):
        raise ValueError(
            'not a host; write "example.com", "example.com:8443", "*.example.com", "[::1]:80" or "*"'
        )
    if host.startswith("[") or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2].lower()):
        _address(host)
    return value


def _address(host: str) -> None:
    """Refuse what a resolver takes for an address though it is not written as one: nothing would match it.

    :raises ValueError: it is no address, or there is a ``*`` in front of it
    """
    try:
        IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except AddressValueError:
        raise ValueError('not an address; write it like "127.0.0.1:80" or "[::1]:80"') from None


Text = Annotated[str, AfterValidator(_text)]
Label = Annotated[str, AfterValidator(check_label)]
Version = Annotated[str, BeforeValidator(_version)]
Interfaces = Annotated[tuple[Label, ...], AfterValidator(_granted)]


class _Section(Settings):
    """A table of the host's own, where a key has one spelling: ``import``, and not ``import_``."""

    model_config = ConfigDict(populate_by_name=False)


class HostSection(_Section):
    """``[host]``."""

    name: Text = "wasmplex"
    """What the host calls itself when it says that it serves."""
    memory: Annotated[Size, AfterValidator(positive)] | None = None
    """What all instances of all workloads may have together, and what is in flight for them; further ones
    wait, 503 over HTTP at last. Three quarters of the machine's or container's memory if absent. Of several
    `--workers` each has an equal part."""
    backend_idle_ttl: Duration = 0.0
    """How long a backend stays open after its last binding has gone; then it is closed. 0s: at once."""
    backend_max_idle: Annotated[int, BeforeValidator(parse_count), Field(ge=0, le=MAX_COUNT)] = 8
    """Backends of one provider that may stay open like that; those idle longest are closed."""


class EngineSection(_Section):
    """``[engine]``."""

    wasm_proposals: tuple[Text, ...] = ()
    """Wasm proposals to switch on, or off with a leading `-`; `--wasm-proposal` adds to them."""
    cache: Text | None = None
    """Directory of compiled components, relative to this file; `wasmplex` in the user's cache if absent."""
    transport: Literal["auto", "strings", "memory"] = "auto"
    """How bytes get into guests: through memory that the host sees, or as strings, which is slower and there
    to find out whether a fault is the host's. `auto` is memory, unless `optimize = false`."""
    optimize: bool = True
    """Whether components are changed in memory to be faster. `false` runs them as they are, to find out
    whether a fault is theirs or the host's."""


class LogSection(_Section):
    """``[log]``."""

    format: Literal["text", "json"] = "text"
    """Lines on standard error: of text for people, or one JSON object each; `--log-format` goes before it."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; `--log-level` goes before it."""


class AdminSection(_Section):
    """``[admin]``."""

    listen: Annotated[Address, BeforeValidator(parse_address)] | None = None
    """Where `/livez`, `/readyz` and `/metrics` are answered, `127.0.0.1:9090`. Nobody is asked who he is:
    keep it to addresses that only your own machines reach. Nowhere if absent."""


class PluginsSection(_Section):
    """``plugins``, which stands alone at the top."""

    plugins: tuple[Text, ...] = ()


class Instances(_Section):
    """``instances`` of a workload; the defaults are those of `InstancesConfig`."""

    max: Count | None = None
    """Instances that may live at once. One call runs in each, so it is also how many calls run at once."""
    reuse: Count | None = None
    """Calls that an instance serves before it is dropped; 1: a fresh one, with fresh memory, for each. The
    default is 100, or 32 times `concurrency` where that is more."""
    concurrency: Count | None = None
    """Calls that one instance may be in at once: 16 where the trigger's interface is asynchronous
    (`wasi:http/handler@0.3`), and 1, the only possible value, for all others."""
    queue: Annotated[int, BeforeValidator(parse_count), Field(ge=0, le=MAX_COUNT)] | None = None
    """Calls that may wait for an instance; the next one is refused at once, 503 over HTTP."""


class WorkloadSection(_Section):
    """``[workload.<name>]`` but for what is `NESTED` in it."""

    component: Text = Field(examples=["app.wasm"])
    """The component's file, relative to this one."""
    args: tuple[Annotated[str, AfterValidator(_without_nul)], ...] = ()
    """Arguments that the guest sees; by custom the first is its own name."""
    dirs: dict[Annotated[Text, AfterValidator(_guest_path)], Text] = Field(default_factory=dict)
    """Directories that the guest may read and write, its path and the host's: `"/data" = "./data"`."""
    network: Literal["deny", "allow"] = "deny"
    """Whether the guest may open sockets and look names up. Outgoing HTTP has `allowed_hosts` for itself."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_allowed_host)], ...] = ()
    """What outgoing HTTP may reach: `example.com`, `example.com:8443`, `*.example.com`, `*` for all."""
    limits: Limits = Limits()
    """What one call and one instance may take; see below."""
    instances: Instances = Instances()
    """How many instances there are, and for how long; see below."""
    optimize: bool | None = None
    """The same as `engine.optimize`, for this component alone."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Environment variables that the guest sees; it sees none of the host's."""
    trigger: dict[str, Any] = Field(default_factory=dict)
    """What calls the component, a table for each: `trigger.http`, `trigger.watch`, or a plugin's."""
    import_: dict[str, Any] = Field(default_factory=dict, alias="import")
    """Who serves each labelled import, a table for each label; see below."""
    default: dict[str, Any] = Field(default_factory=dict)
    """Who serves imports without a label, a table for each package; those with a label never come here."""
    host_interfaces: tuple[Any, ...] = ()
    """The same in wasmCloud's words, an entry for each binding; `hostInterfaces` is taken, too; see below."""


class MiddlewareSection(_Section):
    """An entry of ``middleware`` in ``trigger.http`` that is a table: a component, and what it is granted."""

    component: Text = Field(examples=["auth.wasm"])
    """The component's file, relative to this one. It exports and imports `wasi:http/handler@0.3`."""
    args: tuple[Annotated[str, AfterValidator(_without_nul)], ...] = ()
    """Arguments that it sees. Nothing here is the workload's: it has what is granted in its own table."""
    dirs: dict[Annotated[Text, AfterValidator(_guest_path)], Text] = Field(default_factory=dict)
    """Directories that it may read and write, its path and the host's."""
    network: Literal["deny", "allow"] = "deny"
    """Whether it may open sockets and look names up."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_allowed_host)], ...] = ()
    """What its own outgoing HTTP may reach."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Environment variables that it sees."""
    import_: dict[str, Any] = Field(default_factory=dict, alias="import")
    """Who serves each labelled import of it, as in a workload."""
    default: dict[str, Any] = Field(default_factory=dict)
    """Who serves its imports without a label, as in a workload."""


class BindingSection(_Section):
    """The keys of a binding that the host reads; all others are the backend's."""

    interface: Annotated[str, AfterValidator(_package_or_interface)] | None = None
    """What the label has to stand for: `wasi:keyvalue`, or `wasi:keyvalue/store@0.2.0-draft`."""
    version: Version | None = None
    """The version of the package that it has to be. 0.2.1 and 0.2.6 are one, a pre-release is only itself."""
    interfaces: Interfaces | None = None
    """The interfaces that are granted; importing another is an error. All of the package's if absent."""
    backend: Text | None = None
    """The backend, `redis`, or `redis@host-plugin-redis` where two distributions offer one of that name."""
    from_: Annotated[str, AfterValidator(_interface_id)] | None = Field(None, alias="from")
    """The import that gets the label, `labels:kv/cache@0.1.0`, in a component that could not have labels."""


class HostInterfaceSection(_Section):
    """An entry of ``host_interfaces``, in wasmCloud's words. There, an empty list means every interface."""

    namespace: Annotated[str, AfterValidator(check_label)] = Field(examples=["wasi"])
    """The package's namespace, `wasi`."""
    package: Label = Field(examples=["keyvalue"])
    """Its name, `keyvalue`."""
    interfaces: tuple[Label, ...] = ()
    """The interfaces that are granted; all of them if the list is empty."""
    version: Version | None = None
    """The version that it has to be, as in `import`."""
    name: Label | None = None
    """The label; without one, it is the default of the package."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The other keys of a binding, `backend` among them."""
