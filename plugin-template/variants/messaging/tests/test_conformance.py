from wasmplex.testing import MessagingConformance

from host_plugin_example import ExampleProvider


class TestExample(MessagingConformance):
    provider = ExampleProvider()
