"""``wasi:keyvalue`` and ``wasmcloud:keyvalue`` from any key-value backend, under one policy."""
