"""The contracts of what backends do and triggers call, in Python: one package a capability."""
