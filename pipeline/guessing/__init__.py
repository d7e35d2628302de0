"""A look at a log, and the declaration that it suggests. Imports neither Beam nor TensorFlow.

In the order of the data: `files.py` some bytes of some files, `dialects.py` how delimited text is
written, `samples.py` columns of strings; what these hold and which features they make is found by
`ctr_keras.features.guessing`; then `splits.py`, `declarations.py` the YAML.
"""

from pipeline.guessing.declarations import guess, write_declaration

__all__ = ["guess", "write_declaration"]
