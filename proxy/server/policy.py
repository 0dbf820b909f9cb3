"""What an operator sets in `config/proxy.yml` about who may call and how much: frozen values, no logic."""

from __future__ import annotations

from msgspec import Struct


class AccessKey(Struct, frozen=True):
    """One caller's key. `name` is what records and metrics show; `key` is a secret: never repr'd."""

    name: str
    key: str

    def __repr__(self) -> str:
        return f"AccessKey({self.name!r})"


class AccessPolicy(Struct, frozen=True):
    """Who may call. Without keys everybody may, and only a loopback address is listened on."""

    keys: tuple[AccessKey, ...] = ()
    admin_key: str | None = None
    """The key of /admin/v1, a secret, by the name of `admin`."""
    admin_keys: tuple[AccessKey, ...] = ()
    """More of them, so that the log can tell who it was. With none at all one is made at start."""
    cors_origins: tuple[str, ...] = ()
    """Origins (`https://chat.example`) whose pages may call; `*` is any page. Empty: none."""
    metrics_need_key: bool = False
    """/metrics wants one of `keys`, too."""

    def __repr__(self) -> str:
        return f"AccessPolicy(keys={self.keys!r}, cors_origins={self.cors_origins!r})"


class AdminPolicy(Struct, frozen=True):
    """What outlasts a restart of what was ordered by the admin API."""

    keep: bool = True
    """Models that were disabled stay so."""
    file: str | None = None
    """Where that is written. None: orders.json in the user's state folder."""


class ServerPolicy(Struct, frozen=True):
    """Where to listen, and how the end is met."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free port."""
    workers: int = 1
    """Processes. Each has circuits, caches and statistics of its own."""
    keep_alive: float = 75.0
    """Seconds that an idle caller's connection is kept."""
    drain_timeout: float = 30.0
    """Seconds that open calls get to finish after SIGTERM; then they are cut."""


class ReloadPolicy(Struct, frozen=True):
    """Whether a changed configuration is taken by itself. SIGHUP and the admin API do so in any case."""

    watch: bool = True
    """Look at the files of the configuration ..."""
    interval: float = 2.0
    """... every so many seconds. What is found changed is taken when the next look finds the same."""


class LimitPolicy(Struct, frozen=True):
    """How much a caller may send, how slowly, and how many at once."""

    max_body_bytes: int = 32 * 1024 * 1024
    body_timeout: float = 60.0
    """Seconds for a whole body to arrive; then 408."""
    max_in_flight: int = 4096
    """Calls that one process serves at once."""
    max_queue: int = 1024
    """Calls that may wait for one of those places; above it 503 proxy_overloaded at once."""
    queue_timeout: float = 10.0
    """Seconds that a call waits for its place; then 503 proxy_overloaded."""
    head_timeout: float = 20.0
    """Seconds from a connection's begin, or a request's first byte, to the end of the head; then 408."""
    max_head_bytes: int = 64 * 1024
    """Of a request line and its headers; above it 431."""
    max_header_lines: int = 200
    """Above it 431."""
    send_timeout: float = 300.0
    """Seconds in which a caller that takes nothing at all of its answer is waited for; then it is cut."""
    max_connections: int = 10_000
    """Connections in one process, fewer if descriptors lack. When there are as many, whoever waits longest
    without a request goes."""
