"""WIT packages on top of capabilities: one package a capability, each under `wasmplex.policy`."""
