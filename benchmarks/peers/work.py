"""What every library is given to train: a model's sizes, and batches of ids drawn by a law.

Needs nothing but NumPy: it is imported in the environments of all libraries.
"""

import dataclasses

import numpy as np

FIELDS = tuple(f"field_{index}" for index in range(39))
LAWS = ("zipf", "uniform")
ZIPF_EXPONENT = 1.1  # click logs have about this

HIDDEN = (400, 400, 400)  # DeepFM's tower
ATTENTION_LAYERS = 3  # AutoInt's
HEADS = 2
HEAD_DIM = 32

LEARNING_RATE = 1e-3
OPTIMIZERS = ("sparse", "dense")  # how this library updates embeddings


@dataclasses.dataclass(frozen=True)
class Work:
    """A model to train on categorical fields.

    Attributes:
        model: str. `"FM"`, `"DeepFM"` or `"AutoInt"`.
        ids: int. Ids of all fields together; every field has as many.
        dim: int. Width of an embedding.
        batch_size: int.
        batches: int. How many different ones there are.
        policy: str. Keras' dtype policy. Only this library has a choice.
        optimizer: str. How embeddings are updated, a name in `OPTIMIZERS`, likewise.
    """

    model: str
    ids: int
    dim: int = 16
    batch_size: int = 2048
    batches: int = 32
    policy: str = "float32"
    optimizer: str = OPTIMIZERS[0]

    def with_policy(self, policy: str) -> "Work":
        """The same work with another dtype policy."""
        return dataclasses.replace(self, policy=policy)

    @property
    def vocabulary(self) -> int:
        """Ids of one field."""
        return self.ids // len(FIELDS)

    @property
    def table_bytes(self) -> int:
        """Size of all embeddings in float32, those of the linear part included."""
        width = self.dim + (self.model in ("FM", "DeepFM"))
        return 4 * width * self.vocabulary * len(FIELDS)

    def draw(self, law: str) -> tuple[np.ndarray, np.ndarray]:
        """Batches whose ids follow a law; small ids are the frequent ones.

        Args:
            law: str. A name in `LAWS`.

        Returns:
            Ids within their field, `(batches, batch_size, fields)` int32, and clicks,
            `(batches, batch_size, 1)` float32.

        Example:

        >>> ids, clicks = Work("FM", ids=3900, batches=2).draw("zipf")
        >>> ids.shape, clicks.shape, int(ids.max()) < 100
        ((2, 2048, 39), (2, 2048, 1), True)
        """
        generator = np.random.default_rng(0)
        shape = (self.batches, self.batch_size, len(FIELDS))
        ranks = np.arange(1, self.vocabulary + 1)
        weights = ranks**-ZIPF_EXPONENT if law == "zipf" else np.ones(self.vocabulary)
        shares = np.cumsum(weights / weights.sum())
        ids = np.searchsorted(shares[:-1], generator.random(shape), side="right")
        clicks = generator.integers(0, 2, (*shape[:2], 1))
        return ids.astype("int32"), clicks.astype("float32")
