"""AutoFeature's cells: a small graph of operations for each combination of fields."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_fields, glorot_of_one, identities
from ctr_keras.plan import OPERATIONS, Block
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor, Variable


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldCells(PoolingLayer):
    """What cells of fields say: a number for each end of a cell.

    A cell has the embeddings of its fields as its first nodes, and each of its blocks makes another
    one, as wide, of two that are there:

    - `"add"`: `x + y`
    - `"multiply"`: `x * y`, elementwise
    - `"concatenate"`: `relu([x, y] W + b)`
    - `"product"`: `(x W) * y`, the generalized product

    A node `z` that no other block reads is an end of the cell, and gives `<w, z>`. Weights `W`, `b`
    and `w` are each block's and each end's own. From the defaults, the ends of `multiply` and
    `product` of two fields are their inner product.

    Args:
        cells: list of pairs. Of each cell the indices of its fields, and its blocks, each an
            operation and the places of the two nodes that it reads: fields come first, then blocks.
        kernel_initializer: initializer of all `W`. Defaults to `None`: identity matrices of
            products, and of concatenations Glorot's, uniform, for the kernel of one.
        kernel_regularizer: regularizer of all `W` and `w`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, ends)`, cell by cell.

    Raises:
        ValueError: for no cells, or one of fields that are not there.

    Example:

    >>> import numpy as np
    >>> layer = FieldCells([((0, 1), [("multiply", 0, 1)]), ((1, 2), [("add", 0, 1)])])
    >>> np.array(layer(np.array([[[2.0], [3.0], [4.0]]]))).tolist()
    [[6.0, 7.0]]

    References:
        AutoFeature: Khawar et al., CIKM 2020.
    """

    def __init__(
        self,
        cells: Sequence[tuple[Sequence[int], Sequence[Block]]],
        *,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not cells:
            raise ValueError("there must be at least 1 cell. Received: none")
        self.cells = tuple(
            (tuple(fields), tuple((operation, one, other) for operation, one, other in blocks))
            for fields, blocks in cells
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        count, dim = input_shape[1:]
        unknown = sorted({i for fields, _ in self.cells for i in fields} - set(range(count)))
        if unknown:
            raise ValueError(f"cells name fields {unknown}. Received: {input_shape}")
        nodes = [[*fields] for fields, _ in self.cells]  # where each is, among those of all cells
        levels = []
        for level in range(max(len(blocks) for _, blocks in self.cells)):
            steps = []
            for operation in OPERATIONS:
                chosen = [
                    (own, blocks[level][1:])
                    for own, (_, blocks) in zip(nodes, self.cells, strict=True)
                    if len(blocks) > level and blocks[level][0] == operation
                ]
                if chosen:
                    read = np.array([[own[place] for place in places] for own, places in chosen])
                    weights = self._add_weights(f"{operation}_{level}", len(chosen), dim)
                    steps.append((operation, read.T, weights))
                for own, _ in chosen:
                    own.append(count)
                    count += 1
            levels.append(tuple(steps))
        self._levels = tuple(levels)
        cells = zip(nodes, self.cells, strict=True)
        self._ends = np.array([own[end] for own, cell in cells for end in _ends(*cell)])
        self.readout = self.add_weight(
            name="readout",
            shape=(len(self._ends), dim),
            initializer="ones",
            regularizer=self.kernel_regularizer,
        )

    def _add_weights(self, name: str, count: int, dim: int) -> tuple[Variable, ...]:
        """Those of so many blocks of one operation."""
        own = self.kernel_initializer and self.kernel_initializer.clone()
        if name.startswith("product"):
            shape, initializer = (count, dim, dim), own or identities
        elif name.startswith("concatenate"):
            shape, initializer = (count, 2 * dim, dim), own or glorot_of_one(2 * dim, dim)
        else:
            return ()
        options = {"initializer": initializer, "regularizer": self.kernel_regularizer}
        kernel = self.add_weight(name=f"kernel_{name}", shape=shape, **options)
        if name.startswith("product"):
            return (kernel,)
        return kernel, self.add_weight(name=f"bias_{name}", shape=(count, dim), initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        nodes = inputs
        for steps in self._levels:
            made = []
            for operation, read, weights in steps:
                first, second = (ops.take(nodes, places, axis=1) for places in read)
                cast = (ops.cast(weight, nodes.dtype) for weight in weights)
                made.append(_made(operation, first, second, *cast))
            nodes = ops.concatenate([nodes, *made], axis=1)
        found = ops.take(nodes, self._ends, axis=1)
        return ops.sum(found * ops.cast(self.readout, found.dtype), axis=2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], sum(len(_ends(fields, blocks)) for fields, blocks in self.cells))


def _made(operation: str, first: Tensor, second: Tensor, *weights: Tensor) -> Tensor:
    """What blocks of one operation make of the nodes they read: `(batch, blocks, dim)` each."""
    if operation == "add":
        return first + second
    if operation == "multiply":
        return first * second
    if operation == "product":
        return ops.einsum("bni,nij->bnj", first, *weights) * second
    kernel, bias = weights
    both = ops.concatenate([first, second], axis=2)
    return ops.relu(ops.einsum("bni,nij->bnj", both, kernel) + bias)


def _ends(fields: Sequence[int], blocks: Sequence[Block]) -> list[int]:
    """The places of a cell's blocks that no other block reads."""
    read = {place for _, *places in blocks for place in places}
    return sorted({len(fields) + place for place in range(len(blocks))} - read)
