"""Every field of a feature set as one embedding vector."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.features import Feature, FeatureSet, MultiValued, Numeric
from ctr_keras.keras_internals import mark_quantized
from ctr_keras.layers.base import check_choice
from ctr_keras.layers.inputs import PackedLayer
from ctr_keras.layers.number_embedding import (
    AutoDisEmbedding,
    PeriodicEmbedding,
    StepEmbedding,
)
from ctr_keras.tables import is_left_to_optimizer, look_up, penalty_of_rows
from ctr_keras.tables.checking import given
from ctr_keras.types import (
    Array,
    Config,
    Initializer,
    Inputs,
    Regularizer,
    Shape,
    Tensor,
    Variable,
)

NUMERIC = ("linear", "periodic", "autodis", "ordered")
_NUMBER_EMBEDDINGS = {"periodic": PeriodicEmbedding, "autodis": AutoDisEmbedding}
_numeric = contextvars.ContextVar("numeric", default="linear")
_SINGLES = ("categorical", "crossed")  # packed inputs with one id a field
_COMBINERS = ("mean", "sum")
_ROWS_AT_ONCE = 2**18  # of a table, when it is drawn


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldEmbedding(PackedLayer):
    """Embeds the packed inputs of a feature set: one vector a field.

    All ids share one table, and all single-valued fields are looked up in one gather. For a row of
    inputs, with table `V` and numeric vectors `v`:

    - categorical and crossed field: `V[id]`
    - numeric field: `x * v`; with `numeric="periodic"` or `"autodis"` what `PeriodicEmbedding` or
      `AutoDisEmbedding` makes of `x`
    - number in buckets: `V[id]`, as of any category; with `numeric="ordered"` what `StepEmbedding`
      makes of the bucket is added, in which a bucket of few rows resembles its neighbours
    - multi-valued field: mean of `V[id]` over its actual ids, or of values with weights `w`
      `sum(w V[id]) / sum(w)`, a zero vector if all are 0

    Id 0 (missing, padding) always gives a zero vector, whatever its row of the table holds, and its
    row gets no gradient. Fields come in the order of `features.fields`.

    The table has `features.id_count` rows, so a row's index is its global id. With `fields` it has
    the rows of these fields' vocabularies only, in the order of their ids, after row 0.

    Ids are global: a field's are 0 and `features.id_ranges` of its vocabulary. An eager call checks
    that, and so do models of this library wherever they are given ids (see `RowTrainer`). Compiled
    code of your own cannot: there an id outside the table is an error on TensorFlow's CPU, zeros on
    its GPU, and NaN on JAX, negative ones as well; one of another field gives that field's vector.
    `check_ids` turns all of them into a NaN vector, in eager calls, too (a ReLU behind it may drop
    the NaN in a TensorFlow graph on a CPU; an `MLP` with `check_ids` does not).

    A number that is not finite is missing, as in `ctr-keras prepare`: it is 0, and so gives a zero
    vector with `numeric="linear"`.

    With `l2`, training adds `l2 * (sum of |V[id]|^2 + sum of |v|^2)` to the loss of a batch, where
    the first sum is over the distinct ids that the batch reads, but id 0: each of their rows has
    the gradient `2 l2 V[id]` more, once however often it is read, and with the sparse optimizers
    no other row costs anything. The loss that `fit` reports is without this penalty, so that it
    compares with that of validation. DeepCTR's `l2_reg_embedding` is the same number for all rows
    of a table in every step, FuxiCTR's `embedding_regularizer` twice as large a one (it has
    `|V|^2 / 2`): where a batch reads every row, the three are equal.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        dim: int. Width of an embedding.
        fields: list of str or None. Names of the fields to embed. Defaults to `None`: all.
        sequences: list of str. Names of sequence features to embed with the same table, each as
            an output of its own. Defaults to `()`.
        numeric: str or None. How numbers are embedded: `"linear"`, `"periodic"`, `"autodis"`, or
            `"ordered"`: numbers in buckets, declared so by `scale` of `Numeric`, in their order,
            and others as by `"linear"`. Defaults to `None`: `"linear"`, or what `embedding_numbers`
            says.
        combiner: str. `"mean"` or `"sum"` of a multi-valued field's vectors, or of their products
            with the values' weights. Defaults to `"mean"`.
        embeddings_initializer: initializer of table, numbers and steps, or a number, the standard
            deviation of a normal distribution. Defaults to `None`: 0.01, as AutoInt's code has it.
        embeddings_regularizer: regularizer of the table, which makes all of its rows be updated in
            every step; for an L2 penalty use `l2`. Defaults to `None`.
        l2: float. Penalty of the rows that a batch reads and of the numeric vectors, not of the
            weights of waves and buckets. Defaults to `0.0`.
        check_ids: bool. Whether an id that is not of its field gives NaN. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).
        training: bool. Whether the table is to be trained, which one of int8 refuses.

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, fields, dim)`.

    Returns:
        The fields' vectors; with `sequences` a tuple of them and of each sequence's vectors,
        `(batch, max_length, dim)`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
    >>> features = FeatureSet(
    ...     Categorical("c"), Numeric("n"), label=Label("y"), vocabulary_sizes={"c": 3}
    ... )
    >>> layer = FieldEmbedding(features, dim=4)
    >>> batch = {"categorical": np.array([[2], [0]]), "numeric": np.array([[0.5], [1.0]])}
    >>> tuple(layer(batch).shape)
    (2, 2, 4)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 4.2, Equations 2 to 4.
    """

    def __init__(
        self,
        features: FeatureSet | Config,
        dim: int,
        *,
        fields: Sequence[str] | None = None,
        sequences: Sequence[str] = (),
        numeric: str | None = None,
        combiner: str = "mean",
        embeddings_initializer: Initializer = None,
        embeddings_regularizer: Regularizer = None,
        l2: float = 0.0,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1. Received: {dim}")
        if l2 < 0:
            raise ValueError(f"l2 must not be negative. Received: {l2}")
        check_choice("combiner", combiner, _COMBINERS)
        check_choice("numeric", numeric or _numeric.get(), NUMERIC)
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        self.features = features
        self.dim = dim
        self.fields = None if fields is None else tuple(fields)
        self.sequences = tuple(sequences)
        self.numeric = numeric or _numeric.get()
        self.combiner = combiner
        spread = 0.01 if embeddings_initializer is None else embeddings_initializer
        self.embeddings_initializer = _own(initializer_or_spread(spread))
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.l2 = l2
        self.check_ids = check_ids
        _check_names("field", self.fields or (), features.field_names)
        _check_names("sequence", self.sequences, [f.name for f in features.sequences])
        self._fields = tuple(
            f for f in features.fields if self.fields is None or f.name in self.fields
        )
        if not self._fields:
            raise ValueError("there is no field to embed, only sequences")

    def build(self, input_shape: dict[str, Shape]) -> None:
        for check in self.input_checks:
            check.check_shape(given(input_shape, check.name))
        numeric = self._of(self.features.numeric)
        numeric_initializer = self.embeddings_initializer
        if len(self._fields) > len(numeric) or self.sequences:
            self._offsets, rows = self._layout()
            if self.quantization_mode is None:
                self._add_table(rows)
            else:
                self._add_quantized_table(rows)
            numeric_initializer = _for_rows_of(
                (rows, self.dim), self.embeddings_initializer, (len(numeric), self.dim)
            )
        if self.numeric == "ordered" and self._buckets:
            self.bucket_steps = StepEmbedding(
                self.dim,
                [len(self._ids_of(number)) for number in self._buckets],
                initializer=_own(self.embeddings_initializer),
                dtype=self._float_policy,
                name="bucket_steps",
            )
            self.bucket_steps.build((None, len(self._buckets)))
        if numeric and self.numeric in ("linear", "ordered"):
            self.numeric_vectors = self.add_weight(
                name="numeric_vectors",
                shape=(len(numeric), self.dim),
                initializer=numeric_initializer,
            )
        elif numeric:
            self.numbers = _NUMBER_EMBEDDINGS[self.numeric](
                self.dim,
                initializer=_own(self.embeddings_initializer),
                dtype=self._float_policy,
                name="numbers",
            )
            self.numbers.build((None, len(numeric)))

    @property
    def _buckets(self) -> list[Feature]:
        """The fields that are numbers in buckets."""
        return [f for f in self._of(self.features.categorical) if isinstance(f, Numeric)]

    @property
    def _float_policy(self) -> str:
        """That of the layers inside, which are not quantized."""
        return str(self.dtype_policy.name.rpartition("_from_")[2])

    def _add_table(self, rows: int) -> None:
        self.table = self.add_weight(
            name="table",
            shape=(rows, self.dim),
            initializer=_in_pieces(self.embeddings_initializer),
            regularizer=self.embeddings_regularizer,
            autocast=False,  # rows are cast when looked up, not the whole table
        )
        self.table.is_table = True  # to optimizers that update rows
        self.table.l2 = self.l2  # likewise

    def _add_quantized_table(self, rows: int) -> None:
        """A table `q` of int8 and a scale a row: `V[id] = q[id] * scale[id]`."""
        self._check_mode(self.quantization_mode or "int8")
        options = {"trainable": False, "autocast": False}
        self.table = self.add_weight(
            name="table", shape=(rows, self.dim), initializer="zeros", dtype="int8", **options
        )
        self.table_scale = self.add_weight(
            name="table_scale", shape=(rows, 1), initializer="ones", **options
        )
        mark_quantized(self)

    def _check_mode(self, mode: str) -> None:
        message = f"the table of {self.name!r} can be quantized to int8 only, not by {mode}"
        if mode in ("gptq", "awq"):  # Keras would go on and leave the model half quantized
            raise ValueError(f"{message}: use `quantize('int8')`")
        if mode != "int8":
            raise NotImplementedError(f"{message}, and stays {self.variable_dtype}")

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Quantizes the table to int8 with one scale a row, so that rare rows stay precise.

        Numeric vectors stay as they are, and so does a table of width 1, as its scales would take
        more memory than it. Keras' `quantize` of a model calls this, and turns a
        `NotImplementedError` into a warning. An int8 table cannot be trained.

        Args:
            mode: str. `"int8"`. Defaults to `None`.
            type_check: bool. Whether a class below this one is refused. Defaults to `True`.
            config: keras.quantizers.QuantizationConfig. Not used. Defaults to `None`.

        Raises:
            NotImplementedError: if the layer stays as it is.
            ValueError: for a mode that needs calibration.
        """
        del config
        self._check_mode(mode or "int8")
        if type_check and type(self) is not FieldEmbedding:
            raise NotImplementedError(
                f"embedding {self.name!r} stays {self.variable_dtype}: {type(self).__name__} is a "
                "class of its own; where it reads no `table` itself, pass `type_check=False`"
            )
        if self.dim == 1 or not hasattr(self, "table"):
            why = "a scale a row takes more than a row of width 1" if self.dim == 1 else "no table"
            raise NotImplementedError(f"embedding {self.name!r} stays {self.variable_dtype}: {why}")
        values, scales = _quantized(self.table)
        del self.table
        self._add_quantized_table(len(values))
        self.table.assign(values)
        self.table_scale.assign(scales)
        if self.quantization_mode is None:
            layer: Any = self  # Keras has no type for it
            layer.dtype_policy = f"int8_from_{layer.dtype_policy.name}"

    def _layout(self) -> tuple[dict[str, int], int]:
        """By vocabulary, `id - row`, the same for all its ids; and the number of rows.

        A table of some fields has the ids of their vocabularies one after the other, from row 1.
        """
        ranges = self.features.id_ranges
        if self.fields is None and self.features.read is None:
            return dict.fromkeys(ranges, 0), self.features.id_count
        embedded = [*self._fields, *(self.features[name] for name in self.sequences)]
        used = {self.features.vocabulary_name(feature) for feature in embedded}
        offsets, rows = {}, 1
        for name in (name for name in ranges if name in used):
            offsets[name] = ranges[name].start - rows
            rows += len(ranges[name])
        return offsets, rows

    @property
    def number_layers(self) -> list[keras.layers.Layer]:
        """The layers inside that embed numbers, where lines in them are not all."""
        return [getattr(self, name) for name in ("numbers", "bucket_steps") if hasattr(self, name)]

    @property
    def numeric_weights(self) -> list[Variable]:
        """What numbers are embedded with, each `(numeric fields, ...)`."""
        if hasattr(self, "numbers"):
            return list(self.numbers.weights)
        return [self.numeric_vectors] if hasattr(self, "numeric_vectors") else []

    @property
    def vocabulary_rows(self) -> dict[str, range]:
        """The rows of the table, if there is one, that hold each vocabulary's ids."""
        offsets = getattr(self, "_offsets", {})
        ranges = self.features.id_ranges if offsets else {}
        return {n: range(ranges[n].start - o, ranges[n].stop - o) for n, o in offsets.items()}

    @property
    def step_rows(self) -> dict[str, range]:
        """The rows of the steps, if there are any, that belong to each number in buckets."""
        if not hasattr(self, "bucket_steps"):
            return {}
        ends = np.cumsum(self.bucket_steps.buckets).tolist()
        counts = zip(self._buckets, self.bucket_steps.buckets, ends, strict=True)
        return {number.name: range(end - count, end) for number, count, end in counts}

    def vectors_of(self, vocabulary: str) -> Array:
        """(ids, dim) float. What each id of a vocabulary is embedded as."""
        rows = self.vocabulary_rows[vocabulary]
        vectors: Array = ops.convert_to_numpy(self.table)[rows.start : rows.stop]
        if vocabulary not in self.step_rows:
            return vectors
        place = [*self.step_rows].index(vocabulary)
        buckets = np.zeros((len(rows), len(self.step_rows)), "int32")
        buckets[:, place] = range(1, len(rows) + 1)
        steps: Array = ops.convert_to_numpy(self.bucket_steps(buckets))[:, place]
        return vectors + steps

    def call(self, inputs: Inputs, training: bool | None = None) -> Tensor:
        if training:
            self.check_trainable()
        if training and self.trainable and self.l2:
            self._add_penalty(inputs)
        categorical, crossed = (self._of(getattr(self.features, kind)) for kind in _SINGLES)
        parts = []
        if categorical or crossed:
            columns = [self._columns(inputs, k) for k in _SINGLES if k in self._input_names]
            ids, features = ops.concatenate(columns, axis=1), [*categorical, *crossed]
            embedded = self._embed(ids, features)
            if hasattr(self, "bucket_steps"):
                embedded += self._steps_to(ids, features)
        if categorical:
            # A slice of everything would still be copied, and its gradient, too.
            parts.append(embedded[:, : len(categorical)] if crossed else embedded)
        if self._of(self.features.numeric):
            values = self._columns(inputs, "numeric")
            values = ops.cast(ops.where(ops.isfinite(values), values, 0), self.compute_dtype)
            parts.append(self._embed_numbers(values))
        lists = (f for f in self.features.multi_valued if f in self._fields)
        parts += [self._combine(inputs, feature) for feature in lists]
        if crossed:
            parts.append(embedded[:, len(categorical) :])
        fields = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        if not self.sequences:
            return fields
        histories = [self._embed(inputs[n], [self.features[n]]) for n in self.sequences]
        return (fields, *histories)

    @property
    def field_names(self) -> list[str]:
        """The fields, in the order of the output."""
        return [field.name for field in self._fields]

    @property
    def can_be_parted(self) -> bool:
        """Whether there is a `part` of some fields."""
        return not (self.sequences or self.number_layers)

    def part(self, names: Sequence[str]) -> "FieldEmbedding":
        """A layer on the same inputs that embeds some of the fields with the weights of this one.

        It is for `call` alone, within the same graph.
        """
        part = FieldEmbedding(
            self.features,
            self.dim,
            fields=names,
            combiner=self.combiner,
            check_ids=self.check_ids,
            dtype=self.dtype_policy,
        )
        for name in ("table", "table_scale", "_offsets"):
            if hasattr(self, name):
                setattr(part, name, getattr(self, name))
        if hasattr(self, "numeric_vectors"):
            numeric = self._of(self.features.numeric)
            places = [place for place, field in enumerate(numeric) if field.name in names]
            part.numeric_vectors = ops.take(self.numeric_vectors, np.array(places, "int32"), axis=0)
        return part

    def check_trainable(self) -> None:
        """Checks that the layer is frozen or has no int8 table, which takes no gradient.

        Raises:
            ValueError: if it is to be trained and cannot.
        """
        if self.trainable and self.quantization_mode is not None:
            raise ValueError(
                f"the int8 table of {self.name!r} cannot be trained: train in float and quantize "
                "then, or set `trainable = False` of this layer to train the others"
            )

    def quantized_call(self, *arguments: Any, **named: Any) -> Tensor:
        return self.call(*arguments, **named)  # which looks rows up either way

    def _add_penalty(self, inputs: Inputs) -> None:
        """Adds the penalty to what is differentiated, and nothing to the value of the loss."""
        squares = []
        if hasattr(self, "table") and not is_left_to_optimizer(self.table):
            squares.append(penalty_of_rows(self.table, self._rows_read(inputs)))
        if hasattr(self, "numeric_vectors"):
            squares.append(ops.sum(ops.square(self.numeric_vectors)))
        for square in squares:
            self.add_loss(self.l2 * (square - ops.stop_gradient(square)))

    def _rows_read(self, inputs: Inputs) -> Tensor:
        """The row of every id that a batch reads, as often as it does."""
        reads = [
            (self._columns(inputs, kind), self._of(getattr(self.features, kind)))
            for kind in _SINGLES
            if kind in self._input_names
        ]
        lists = self._of(self.features.multi_valued)
        lists += [self.features[name] for name in self.sequences]
        reads += [(inputs[feature.name], [feature]) for feature in lists]
        return ops.concatenate([ops.reshape(self._rows(*read), (-1,)) for read in reads])

    def _columns(self, inputs: Inputs, kind: str) -> Tensor:
        """The columns of a packed input that belong to embedded fields."""
        features = getattr(self.features, kind)
        wanted = [index for index, feature in enumerate(features) if feature in self._fields]
        if len(wanted) == len(features):
            return inputs[kind]
        return ops.take(inputs[kind], np.array(wanted), axis=1)

    def _rows(self, ids: Tensor, features: Sequence[Feature]) -> Tensor:
        """The table's rows of ids whose columns belong to these features, or all to the one."""
        offsets = [self._offsets[self.features.vocabulary_name(f)] for f in features]
        if not any(offsets):
            return ids
        # One offset a column, or one for all columns of a list; id 0 stays row 0.
        return ops.where(ops.equal(ids, 0), 0, ops.subtract(ids, np.array(offsets, "int32")))

    def _embed(self, ids: Tensor, features: Sequence[Feature]) -> Tensor:
        """Vectors of ids whose columns belong to these features, or all to the one."""
        rows = self._rows(ids, features)
        if not self.check_ids:
            return self._look_up(rows)
        ranges = [self._ids_of(feature) for feature in features]
        low, high = np.array([(r.start, r.stop - 1) for r in ranges], "int32").T
        is_of_field = ops.logical_and(ops.greater_equal(ids, low), ops.less_equal(ids, high))
        is_known = ops.logical_or(ops.equal(ids, 0), is_of_field)
        vectors = self._look_up(ops.where(is_known, rows, 0))
        return ops.where(is_known[..., None], vectors, float("nan"))

    def _look_up(self, rows: Tensor) -> Tensor:
        vectors = look_up(self.table, rows)
        if self.quantization_mode is not None:
            scales = look_up(self.table_scale, rows)
            vectors = ops.cast(vectors, scales.dtype) * scales
        vectors = ops.cast(vectors, self.compute_dtype)
        return ops.where(ops.not_equal(rows, 0)[..., None], vectors, 0.0)

    def _steps_to(self, ids: Tensor, features: Sequence[Feature]) -> Tensor:
        """What is added to the vectors of ids whose columns belong to these features."""
        columns = [column for column, f in enumerate(features) if isinstance(f, Numeric)]
        before = np.array([self._ids_of(features[column]).start - 1 for column in columns], "int32")
        of_numbers = ops.take(ids, np.array(columns), axis=1)
        steps = self.bucket_steps(of_numbers - before)  # where an id is 0, of no bucket
        places = np.zeros(len(features), "int32")  # of other fields, a zero vector before the first
        places[columns] = range(1, len(columns) + 1)
        steps = ops.concatenate([ops.zeros_like(steps[:, :1]), steps], axis=1)
        return ops.take(steps, places, axis=1)

    def _embed_numbers(self, values: Tensor) -> Tensor:
        if hasattr(self, "numbers"):
            return self.numbers(values)
        return values[:, :, None] * ops.cast(self.numeric_vectors, self.compute_dtype)

    def _combine(self, inputs: Inputs, feature: MultiValued) -> Tensor:
        ids = inputs[feature.name]
        vectors, is_value = self._embed(ids, [feature]), ops.not_equal(ids, 0)
        if feature.weights_input is None:
            weights = ops.cast(is_value, self.compute_dtype)
        else:
            weights = self._weights(ops.where(is_value, inputs[feature.weights_input], 0.0))
            vectors = vectors * weights[:, :, None]
        total = ops.sum(vectors, axis=1, keepdims=True)
        if self.combiner == "sum":
            return total
        weight = ops.sum(weights, axis=1, keepdims=True)
        return total / ops.where(ops.equal(weight, 0), 1, weight)[:, :, None]

    def _weights(self, weights: Tensor) -> Tensor:
        """Weights in the type of the vectors; of a mean as shares of the row's largest, as float16
        may not hold them."""
        if self.combiner == "mean":
            largest = ops.max(weights, axis=1, keepdims=True, initial=0.0)
            weights = weights / ops.where(ops.equal(largest, 0), 1.0, largest)
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape | tuple[Shape, ...]:
        batch = next(iter(input_shape.values()))[0]
        fields = (batch, len(self._fields), self.dim)
        if not self.sequences:
            return fields
        lengths = [self.features.packed_shapes[name][0] for name in self.sequences]
        return (fields, *((batch, length, self.dim) for length in lengths))


@contextlib.contextmanager
def embedding_numbers(numeric: str) -> Iterator[None]:
    """Has each `FieldEmbedding` that is made inside embed numbers in this way, unless it is told.

    Args:
        numeric: str. `"linear"`, `"periodic"`, `"autodis"` or `"ordered"`.

    Example:

    >>> from ctr_keras.features import FeatureSet, Label, Numeric
    >>> with embedding_numbers("periodic"):
    ...     layer = FieldEmbedding(FeatureSet(Numeric("n"), label=Label("y")), dim=4)
    >>> layer.numeric
    'periodic'
    """
    check_choice("numeric", numeric, NUMERIC)
    token = _numeric.set(numeric)
    try:
        yield
    finally:
        _numeric.reset(token)


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown {kind} {name!r}; available: {', '.join(known) or 'none'}. "
                f"Received: {names}"
            )


def initializer_or_spread(value: Initializer) -> Initializer:
    """An initializer; for a number, a normal distribution of this standard deviation.

    Example:

    >>> initializer_or_spread(0.1).stddev
    0.1
    """
    if isinstance(value, int | float):
        return keras.initializers.RandomNormal(stddev=value)
    return keras.initializers.get(value)


def _own(initializer: Initializer) -> Initializer:
    """A copy, as one without a seed that several tables share would draw the same for all."""
    return initializer.clone() if hasattr(initializer, "clone") else initializer


def _in_pieces(initializer: Initializer) -> Initializer:
    """An initializer that draws large tables some rows at a time.

    Drawn at once they would take several times their memory, which is not given back.
    """

    def draw(table: Shape, dtype: Any = None) -> Tensor:
        if table[0] <= _ROWS_AT_ONCE:
            return initializer(table, dtype)
        drawn = None
        for number, start in enumerate(range(0, table[0], _ROWS_AT_ONCE)):
            shape = (min(_ROWS_AT_ONCE, table[0] - start), *table[1:])
            piece = _for_rows_of(table, initializer, shape)
            if isinstance(getattr(initializer, "seed", None), int):
                piece.seed = initializer.seed + number  # a copy would draw the same rows again
            values = ops.convert_to_numpy(piece(shape, dtype))
            drawn = np.empty(table, values.dtype) if drawn is None else drawn
            drawn[start : start + len(values)] = values
        return ops.convert_to_tensor(drawn)

    return draw


def _quantized(table: Variable) -> tuple[Array, Array]:
    """The rows of a table in -127..127, int8, and the scale of each, (rows, 1).

    Some rows at a time, as the steps in between take several times the memory of their rows.
    """
    values = np.empty(table.shape, "int8")
    scales = np.empty((len(values), 1), "float32")
    for start in range(0, len(values), _ROWS_AT_ONCE):
        piece = slice(start, start + _ROWS_AT_ONCE)
        rows = ops.convert_to_numpy(ops.cast(table[piece], "float32"))
        highest = np.abs(rows).max(axis=1, keepdims=True)
        scales[piece] = np.maximum(highest / 127, np.finfo("float32").tiny)
        values[piece] = np.round(rows / scales[piece])
    return values, scales


def _for_rows_of(table: Shape, initializer: Initializer, shape: Shape) -> Initializer:
    """An initializer that draws anew, as widely as `initializer` draws the rows of a table.

    `VarianceScaling` draws with variance `scale / fan`, where the fan of a shape (rows, dim) is
    rows, dim or their mean, by its mode. For the variance of the whole table, the scale of a piece
    grows by `fan(piece) / fan(table)`.
    """
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return _own(initializer)
    shares = {"fan_in": (1, 0), "fan_out": (0, 1), "fan_avg": (0.5, 0.5)}  # of rows and dim
    fan = np.array(shares[initializer.mode])
    scale = initializer.scale * float((fan @ shape) / (fan @ table))
    return keras.initializers.VarianceScaling(scale, initializer.mode, initializer.distribution)
