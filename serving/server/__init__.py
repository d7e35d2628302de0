"""The embedded server: models from disk, answered over REST and gRPC."""
