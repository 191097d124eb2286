import pytest
from wasmplex.testing import KeyValueConformance

from host_plugin_example import ExampleProvider


class TestExample(KeyValueConformance):
    provider = ExampleProvider()

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        return {"path": "store.json"}
