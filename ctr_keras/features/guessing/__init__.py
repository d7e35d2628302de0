"""A look at columns, and the features that it suggests. Needs pyarrow.

In the order of the data: `frames.py` columns of strings, `names.py` and `profiles.py` what a column
holds, `labels.py` the label and what gives it away, `features.py` the features.
"""

from ctr_keras.features.guessing.features import guess
from ctr_keras.features.guessing.frames import columns_of

__all__ = ["columns_of", "guess"]
