"""A host under traffic for minutes; see `soak.__main__`."""
