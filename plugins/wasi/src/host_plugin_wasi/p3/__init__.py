"""WASI 0.3: the interfaces of this version, over what it shares with 0.2.

Files, sockets, messages of HTTP, grants and logs are the same as for 0.2; what differs is how they look to a
guest: async functions instead of pollables, streams and futures instead of resources for them.
"""
