from wasmplex.testing import BlobStoreConformance

from host_plugin_example import ExampleProvider


class TestExample(BlobStoreConformance):
    provider = ExampleProvider()
