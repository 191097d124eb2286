"""WASI 0.2 in Python: io, cli, clocks, random, filesystem, sockets, http."""
