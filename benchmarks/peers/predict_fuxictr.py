"""FuxiCTR trained by its own `fit`, with the settings of its model zoo, on rows in memory.

    python -m benchmarks.peers.predict_fuxictr ROWS.npz OUT.npz '{"model": "FM", "seed": 0, ...}'

`ROWS.npz` holds `features`, a JSON list of FuxiCTR's specifications of the fields, and for each
split `SPLIT/N`, the column of the N-th field, and `SPLIT/label`. `OUT.npz` gets the scores of
the best weights on `validation` and `test`, and `report`, as JSON. The task may have `settings`,
which replace those of the zoo.

FuxiCTR's package has blocks, and its repository the models, so they are put together here as
there. Its loader collates batches row by row; here they are cut out of arrays, which is faster.
"""

import json
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import (
    BilinearInteractionV2,
    CompressedInteractionNet,
    CrossNet,
    CrossNetV2,
    FactorizationMachine,
    FeatureEmbedding,
    InnerProductInteraction,
    LogisticRegression,
    MLP_Block,
    SqueezeExcitation,
)
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything

from benchmarks.peers.train_fuxictr import SelfAttention

LABEL = "label"

# What the zoo's `MODEL_default` have in common, and what some have of their own. Its AutoInt has a
# tower, which ours calls AutoInt+; without the tower it is the model of the paper.
SHARED = {
    "learning_rate": 1e-3,
    "batch_size": 10_000,
    "epochs": 100,
    "early_stop_patience": 2,
    "embedding_dim": 40,
    "embedding_regularizer": 0,
    "net_regularizer": 0,
    "net_dropout": 0,
    "batch_norm": False,
}
ATTENTION = {"attention_layers": 3, "num_heads": 2, "attention_dim": 40}
ZOO: dict[str, dict[str, Any]] = {
    "LR": {},
    "FM": {"embedding_dim": 10},
    "DeepFM": {"hidden_units": [300, 300, 300]},
    "IPNN": {"hidden_units": [300, 300, 300]},
    "AutoInt": ATTENTION,
    "AutoIntPlus": {**ATTENTION, "hidden_units": [400, 400]},
    "WideDeep": {"hidden_units": [300, 300, 300]},
    "FNN": {"hidden_units": [500, 500, 500]},
    "NFM": {"hidden_units": [500, 500, 500]},
    "DCN": {"hidden_units": [500, 500, 500], "cross_layers": 3},
    "DCNv2": {"hidden_units": [500, 500, 500], "cross_layers": 3},
    "xDeepFM": {"hidden_units": [500, 500, 500], "cin_hidden_units": [32, 32, 32]},
    "FiBiNET": {"hidden_units": [500, 500, 500], "reduction_ratio": 3},
}


class Model(BaseModel):
    """A sum of logits of fields and their embeddings, and what its training took.

    Args:
        name: str. A name in `ZOO`.
        features: FeatureMap.
        settings: dict. As in `SHARED` and `ZOO`.
        folder: str. Where `fit` keeps the best weights.

    Attributes:
        curve: list. For each evaluation the seconds of training so far, without evaluations, and
            the validation AUC.
        seconds_to_best: float. Of training up to the best evaluation.
    """

    def __init__(
        self, name: str, features: FeatureMap, settings: Mapping[str, Any], folder: str
    ) -> None:
        super().__init__(
            features,
            model_id=name,
            monitor={"AUC": 1, "logloss": -1},
            early_stop_patience=settings["early_stop_patience"],
            embedding_regularizer=settings["embedding_regularizer"],
            net_regularizer=settings["net_regularizer"],
            verbose=0,
            model_root=folder,
            metrics=["AUC", "logloss"],
        )
        self.curve: list[tuple[float, float]] = []
        self.seconds_to_best = self._seconds = 0.0
        embeds = name != "LR"
        dim = settings["embedding_dim"]
        self.embedding_layer = FeatureEmbedding(features, dim) if embeds else None
        self.parts = torch.nn.ModuleList(_parts(name, features, settings))
        self.compile("adam", "binary_crossentropy", settings["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        inputs = self.get_inputs(batch)
        embeddings = self.embedding_layer(inputs) if self.embedding_layer else None
        logit = sum(part(inputs, embeddings) for part in self.parts)
        return {"y_pred": self.output_activation(logit)}

    def train_epoch(self, data_generator: "Batches") -> None:
        self._started = time.perf_counter()
        super().train_epoch(data_generator)

    def eval_step(self) -> None:
        self._seconds += time.perf_counter() - self._started
        super().eval_step()
        self._started = time.perf_counter()

    def checkpoint_and_earlystop(self, logs: Mapping[str, float], *options: Any) -> None:
        super().checkpoint_and_earlystop(logs, *options)
        self.curve.append((round(self._seconds, 3), float(logs["AUC"])))
        if self._stopping_steps == 0:
            self.seconds_to_best = round(self._seconds, 3)


def _parts(
    name: str, features: FeatureMap, settings: Mapping[str, Any]
) -> Iterator[torch.nn.Module]:
    """What gives a model's logit: modules of the inputs and their embeddings."""
    fields, dim = features.num_fields, settings["embedding_dim"]
    if name in ("LR", "WideDeep", "NFM", "xDeepFM", "FiBiNET"):
        yield _Linear(features)
    if name in ("FM", "DeepFM"):
        yield FactorizationMachine(features)
    if name in ("AutoInt", "AutoIntPlus"):
        yield _Attention(fields, dim, settings)
    if name == "xDeepFM":
        yield _Compressed(fields, settings)
    if name in ("DeepFM", "AutoIntPlus", "WideDeep", "FNN", "xDeepFM"):
        yield _Tower(fields * dim, settings)
    if name == "IPNN":
        yield _Products(fields, dim, settings)
    if name == "NFM":
        yield _PooledProducts(fields, dim, settings)
    if name == "FiBiNET":
        yield _BilinearProducts(fields, dim, settings)
    if name == "DCN":
        yield _Crossed(CrossNet, fields * dim, settings)
    if name == "DCNv2":
        yield _Crossed(CrossNetV2, fields * dim, settings)


class _Linear(torch.nn.Module):
    def __init__(self, features: FeatureMap) -> None:
        super().__init__()
        self.linear = LogisticRegression(features)

    def forward(self, inputs: dict[str, Any], embeddings: None) -> torch.Tensor:
        return self.linear(inputs)


def _mlp(width: int, settings: Mapping[str, Any], output_dim: int | None = 1) -> MLP_Block:
    return MLP_Block(
        width,
        settings["hidden_units"],
        output_dim=output_dim,
        dropout_rates=settings["net_dropout"],
        batch_norm=settings["batch_norm"],
    )


class _Tower(torch.nn.Module):
    def __init__(self, width: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.mlp = _mlp(width, settings)

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.mlp(embeddings.flatten(start_dim=1))


class _Products(_Tower):
    """A tower on embeddings and the inner products of all pairs."""

    def __init__(self, fields: int, dim: int, settings: Mapping[str, Any]) -> None:
        super().__init__(fields * dim + fields * (fields - 1) // 2, settings)
        self.products = InnerProductInteraction(fields, output="inner_product")

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        flat = embeddings.flatten(start_dim=1)
        return self.mlp(torch.cat([flat, self.products(embeddings)], dim=1))


class _PooledProducts(_Tower):
    """A tower on the sum of all pairs' products."""

    def __init__(self, fields: int, dim: int, settings: Mapping[str, Any]) -> None:
        super().__init__(dim, settings)
        self.products = InnerProductInteraction(fields, output="bi_interaction")

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.products(embeddings))


class _BilinearProducts(_Tower):
    """A tower on bilinear products of all pairs, of the embeddings and of the reweighed ones."""

    def __init__(self, fields: int, dim: int, settings: Mapping[str, Any]) -> None:
        super().__init__(fields * (fields - 1) * dim, settings)
        self.reweigh = SqueezeExcitation(fields, settings["reduction_ratio"])
        self.products = BilinearInteractionV2(fields, dim)
        self.reweighed_products = BilinearInteractionV2(fields, dim)

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        reweighed = self.reweighed_products(self.reweigh(embeddings))
        products = torch.cat([self.products(embeddings), reweighed], dim=1)
        return self.mlp(products.flatten(start_dim=1))


class _Crossed(torch.nn.Module):
    """A cross network next to a tower, with a logit of both."""

    def __init__(
        self, cross: type[torch.nn.Module], width: int, settings: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.cross = cross(width, settings["cross_layers"])
        self.mlp = _mlp(width, settings, output_dim=None)
        self.fc = torch.nn.Linear(width + settings["hidden_units"][-1], 1)

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        flat = embeddings.flatten(start_dim=1)
        return self.fc(torch.cat([self.cross(flat), self.mlp(flat)], dim=1))


class _Compressed(torch.nn.Module):
    def __init__(self, fields: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.cin = CompressedInteractionNet(fields, settings["cin_hidden_units"])

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.cin(embeddings)


class _Attention(torch.nn.Module):
    def __init__(self, fields: int, dim: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        width, heads = settings["attention_dim"], settings["num_heads"]
        widths = [dim] + [width] * (settings["attention_layers"] - 1)
        self.attention = torch.nn.Sequential(
            *(SelfAttention(d, heads, width // heads, settings["net_dropout"]) for d in widths)
        )
        self.fc = torch.nn.Linear(fields * width, 1)

    def forward(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.fc(self.attention(embeddings).flatten(start_dim=1))


class Batches:
    """The batches of a split, as FuxiCTR's loader gives them: a column of each field and labels."""

    def __init__(
        self, columns: Mapping[str, torch.Tensor], batch_size: int, *, shuffled: bool = False
    ) -> None:
        self._columns = columns
        self._rows = len(columns[LABEL])
        self._batch_size = batch_size
        self._shuffled = shuffled

    def __len__(self) -> int:
        return -(-self._rows // self._batch_size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = torch.randperm(self._rows) if self._shuffled else torch.arange(self._rows)
        for rows in order.split(self._batch_size):
            yield {name: column[rows] for name, column in self._columns.items()}


def _feature_map(specifications: list[dict[str, Any]]) -> FeatureMap:
    # The names of the data set might be those of attributes of PyTorch's containers.
    features = FeatureMap("", data_dir="")
    features.features = OrderedDict(
        (f"field_{n}", {"source": "", **one}) for n, one in enumerate(specifications)
    )
    features.labels = [LABEL]
    features.num_fields = features.get_num_fields()
    return features


def train(rows: Mapping[str, np.ndarray], task: Mapping[str, Any]) -> dict[str, Any]:
    """Trains a model, and scores with the weights of its best evaluation.

    Args:
        rows: what `ROWS.npz` holds.
        task: `model`, `seed` and, where they are not the zoo's, `settings`.

    Returns:
        What `OUT.npz` holds.
    """
    seed_everything(task["seed"])
    settings = {**SHARED, **ZOO[task["model"]], **task.get("settings", {})}
    features = _feature_map(json.loads(str(rows["features"])))

    def batches(split: str, *, shuffled: bool = False) -> Batches:
        columns = {name: rows[f"{split}/{n}"] for n, name in enumerate(features.features)}
        columns[LABEL] = rows[f"{split}/label"]
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        return Batches(tensors, settings["batch_size"], shuffled=shuffled)

    with tempfile.TemporaryDirectory() as folder:
        model = Model(task["model"], features, settings, folder)
        validation = batches("validation")
        model.fit(batches("train", shuffled=True), settings["epochs"], validation_data=validation)
    report = {
        "evaluations": len(model.curve),
        "seconds": model.curve[-1][0],
        "seconds_to_best": model.seconds_to_best,
        "curve": model.curve,
    }
    scores = {"validation": model.predict(validation), "test": model.predict(batches("test"))}
    return {**scores, "report": json.dumps(report)}


def main() -> None:
    rows_path, out, task = sys.argv[1:]
    with np.load(rows_path) as rows:
        np.savez(out, **train(rows, json.loads(task)))


if __name__ == "__main__":
    main()
