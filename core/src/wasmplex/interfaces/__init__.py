"""WIT packages on top of capabilities: one package a capability; `policy` is for all of them."""
