"""``wasmcloud:messaging`` from any message broker."""
