"""The blob store: a JetStream object store for each container."""
