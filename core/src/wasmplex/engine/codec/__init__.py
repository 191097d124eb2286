"""Turns WIT values into Python values and back, by code generated from the types."""
