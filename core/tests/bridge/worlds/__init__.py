"""Random WIT worlds, and guests that echo what they are given."""
