"""Training steps of this library and of others, each in a process and an environment of its own."""
