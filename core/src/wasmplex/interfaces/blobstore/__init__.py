"""The WIT packages of blob stores: ``wasmcloud:blobstore`` and ``wasi:blobstore``."""
