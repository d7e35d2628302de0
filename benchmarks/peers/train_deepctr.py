"""DeepCTR's training step, on Keras 2.

Its DeepFM is used as it is. It has no plain FM, and its AutoInt always has a linear part, so these
two are put together from its own layers. No part is regularized: an L2 of the embeddings, on by
default there, would walk all tables once more.
"""

import os
from collections.abc import Iterator
from typing import Any

import requests


def _refuse(*arguments: Any, **options: Any) -> None:
    raise OSError("a benchmark uses no network")


requests.get = _refuse  # importing DeepCTR asks for its newest version
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf  # noqa: E402
from deepctr.feature_column import (  # noqa: E402
    SparseFeat,
    build_input_features,
    get_linear_logit,
    input_from_feature_columns,
)
from deepctr.layers.core import PredictionLayer  # noqa: E402
from deepctr.layers.interaction import FM, InteractingLayer  # noqa: E402
from deepctr.layers.utils import concat_func  # noqa: E402
from deepctr.models import DeepFM  # noqa: E402
from tensorflow.keras.layers import Add, Dense, Flatten  # noqa: E402
from tensorflow.keras.models import Model  # noqa: E402
from tensorflow.keras.optimizers import Adam  # noqa: E402
from tensorflow.keras.utils import set_random_seed  # noqa: E402

from benchmarks.peers.work import (  # noqa: E402
    ATTENTION_LAYERS,
    FIELDS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    LEARNING_RATE,
    Work,
)
from benchmarks.peers.worker import Run, serve  # noqa: E402

SEED = 0


def _fm(columns: list[SparseFeat]) -> Model:
    inputs, embeddings = _embed(columns)
    linear = get_linear_logit(inputs, columns, seed=SEED, l2_reg=0)
    logit = Add()([linear, FM()(embeddings)])
    return Model(list(inputs.values()), PredictionLayer("binary")(logit))


def _deepfm(columns: list[SparseFeat]) -> Model:
    return DeepFM(
        columns, columns, dnn_hidden_units=HIDDEN, l2_reg_linear=0, l2_reg_embedding=0, seed=SEED
    )


def _autoint(columns: list[SparseFeat]) -> Model:
    inputs, fields = _embed(columns)
    for _ in range(ATTENTION_LAYERS):
        fields = InteractingLayer(HEAD_DIM, HEADS)(fields)
    logit = Dense(1, use_bias=False)(Flatten()(fields))
    return Model(list(inputs.values()), PredictionLayer("binary")(logit))


def _embed(columns: list[SparseFeat]) -> tuple[dict[str, Any], Any]:
    inputs = build_input_features(columns)
    embeddings, _ = input_from_feature_columns(inputs, columns, l2_reg=0, seed=SEED)
    return inputs, concat_func(embeddings, axis=1)


def load(work: Work, law: str) -> Iterator[Any]:
    """Batches with an input of each field, as DeepCTR's models take them."""
    ids, clicks = work.draw(law)
    columns = {name: ids[:, :, index] for index, name in enumerate(FIELDS)}
    return iter(tf.data.Dataset.from_tensor_slices((columns, clicks)).repeat().prefetch(2))


def build(work: Work) -> tuple[Run, int]:
    """A model, and the function that its `fit` calls for every batch."""
    set_random_seed(SEED)
    columns = [SparseFeat(name, work.vocabulary, work.dim) for name in FIELDS]
    model = {"FM": _fm, "DeepFM": _deepfm, "AutoInt": _autoint}[work.model](columns)
    model.compile(Adam(LEARNING_RATE), "binary_crossentropy")
    step = model.make_train_function()

    def run(batches: Iterator[Any], steps: int) -> None:
        for _ in range(steps):
            logs = step(batches)
        logs["loss"].numpy()

    return run, model.count_params()


if __name__ == "__main__":
    serve(load, build)
