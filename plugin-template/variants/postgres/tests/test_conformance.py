from collections.abc import Iterator

import pytest
from wasmplex.testing import PostgresConformance
from wasmplex.testing.servers import PostgresServer

from host_plugin_example import ExampleProvider


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


class TestExample(PostgresConformance):
    provider = ExampleProvider()
    examples = 2

    @pytest.fixture
    def settings(self, server: PostgresServer) -> dict[str, str]:
        return {"url": server.url}
