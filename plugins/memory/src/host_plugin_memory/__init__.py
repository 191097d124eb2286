"""Key-value in the memory of the host process."""
