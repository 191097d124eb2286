"""What the fault tests share: a way to each server, and traffic that notes what it was told."""
