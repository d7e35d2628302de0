"""Formats of source tables: bytes of a chunk in, blocks of string columns out.

Only what a format itself forbids is bad here (column count, length, UTF-8). What a column's value
must look like is the data set's matter.
"""
