"""Formats of source tables: bytes of a chunk in, blocks of string columns out.

Only what a format itself forbids is bad here (column count, length, encoding, nesting). What a
column's value must look like is the data set's matter.

A format is a dataclass with the `columns` to read, and

- `check(path)`, which raises a `SourceError` if a file's beginning is not as declared;
- `chunks(whole, size)`, the parts of one file that workers read;
- `read(chunk)`, the blocks of one.
"""
