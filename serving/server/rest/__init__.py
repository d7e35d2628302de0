"""The REST API and its JSON."""
