"""Hostile guests beside one that wants to be served: `python -m hostile` plays them and prints a table."""
