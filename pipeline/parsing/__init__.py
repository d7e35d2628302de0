"""Formats of source tables: bytes of a chunk in, blocks of text columns out."""
