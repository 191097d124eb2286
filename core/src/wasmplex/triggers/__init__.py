"""What calls a workload's exports: a package a trigger, each with an entry point in core/pyproject.toml."""
