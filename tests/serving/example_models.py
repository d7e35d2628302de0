"""What the examples in docstrings find: a folder of models, a server of it, a client."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from serving.client import Client
from serving.server.server import Server


def _save(path: pathlib.Path, **signatures: Any) -> None:
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(path), signatures)


def _save_ctr(path: pathlib.Path) -> None:
    """A missing price scores 0.25, any other 0.5; `rank` scores the length of the site's name."""
    strings, floats = (tf.TensorSpec([None], kind) for kind in (tf.string, tf.float32))

    @tf.function(input_signature=[strings, floats])
    def score(site: tf.Tensor, price: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.where(tf.math.is_nan(price), 0.25, 0.5)}

    @tf.function(input_signature=[strings, tf.TensorSpec([None, None], tf.string)])
    def rank(age: tf.Tensor, site: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.cast(tf.strings.length(site), tf.float32)}

    _save(path, serving_default=score, rank=rank)


def _save_times_two(path: pathlib.Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def times_two(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2 * x}

    _save(path, serving_default=times_two)


def _save_of_examples(path: pathlib.Path) -> None:
    examples = tf.TensorSpec([None], tf.string)

    @tf.function(input_signature=[examples])
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = [tf.size(inputs), 1]
        classes, scores = [["horror", "comedy"]], [[0.75, 0.25]]
        return {"classes": tf.tile(classes, rows), "scores": tf.tile(scores, rows)}

    @tf.function(input_signature=[examples])
    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        parsing = {"rooms": tf.io.FixedLenFeature([], tf.int64)}
        rooms = tf.io.parse_example(inputs, parsing)["rooms"]
        return {"outputs": 100 * tf.cast(rooms, tf.float32)}

    _save(path, serving_default=classify, price=regress)


@contextlib.contextmanager
def running_server(models: pathlib.Path) -> Iterator[Server]:
    """A server of the models, which it saves first."""
    _save_ctr(models / "ctr" / "1")
    _save_times_two(models / "times_two" / "1")
    _save_of_examples(models / "genre" / "1")
    with Server(models, rest_api_port=0, port=0) as server:
        yield server


@contextlib.contextmanager
def names_of_examples(server: Server) -> Iterator[dict[str, Any]]:
    """The names that examples use."""
    with Client(f"http://{server.rest_address}") as client:
        yield {"np": np, "server": server, "client": client, "manager": server._core.manager}
