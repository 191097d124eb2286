"""``wasmcloud:postgres`` from any Postgres backend, under one policy."""
