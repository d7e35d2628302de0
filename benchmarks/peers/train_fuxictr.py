"""FuxiCTR's training step.

Its package has the blocks, but not the models of this kind that its repository has, so they are
put together here as there. As there, only AutoInt's first layer projects its residual; the others,
whose output is as wide as their input, add the input itself.
"""

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import (
    FactorizationMachine,
    FeatureEmbedding,
    MLP_Block,
    ScaledDotProductAttention,
)
from fuxictr.pytorch.models import BaseModel

from benchmarks.peers.work import (
    ATTENTION_LAYERS,
    FIELDS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    LEARNING_RATE,
    Work,
)
from benchmarks.peers.worker import Run, serve

MAX_GRADIENT_NORM = 10.0  # the default of FuxiCTR's `fit`


class _Model(BaseModel):
    """A model of the embeddings' logit, compiled as FuxiCTR's own."""

    def __init__(self, work: Work) -> None:
        features = _feature_map(work)
        super().__init__(features, model_id=work.model, verbose=0, model_root="", metrics=[])
        self.embedding_layer = FeatureEmbedding(features, work.dim)
        self.add_parts(features, work.dim)
        self.compile("adam", "binary_crossentropy", LEARNING_RATE)
        self.reset_parameters()
        self.model_to_device()
        self._max_gradient_norm = MAX_GRADIENT_NORM

    def add_parts(self, features: FeatureMap, dim: int) -> None:
        raise NotImplementedError

    def logit(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        inputs = self.get_inputs(batch)
        logit = self.logit(inputs, self.embedding_layer(inputs))
        return {"y_pred": self.output_activation(logit)}


class FM(_Model):
    def add_parts(self, features: FeatureMap, dim: int) -> None:
        self.fm = FactorizationMachine(features)

    def logit(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.fm(inputs, embeddings)


class DeepFM(FM):
    def add_parts(self, features: FeatureMap, dim: int) -> None:
        super().add_parts(features, dim)
        self.mlp = MLP_Block(len(FIELDS) * dim, list(HIDDEN), output_dim=1)

    def logit(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return super().logit(inputs, embeddings) + self.mlp(embeddings.flatten(start_dim=1))


class AutoInt(_Model):
    def add_parts(self, features: FeatureMap, dim: int) -> None:
        width = HEADS * HEAD_DIM
        widths = [dim] + [width] * (ATTENTION_LAYERS - 1)
        self.attention = torch.nn.Sequential(*(SelfAttention(before) for before in widths))
        self.fc = torch.nn.Linear(len(FIELDS) * width, 1)

    def logit(self, inputs: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
        return self.fc(self.attention(embeddings).flatten(start_dim=1))


class SelfAttention(torch.nn.Module):
    def __init__(
        self, dim: int, heads: int = HEADS, head_dim: int = HEAD_DIM, dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = heads * head_dim
        self.head_dim = head_dim
        self.query, self.key, self.value = (
            torch.nn.Linear(dim, width, bias=False) for _ in range(3)
        )
        self.residual = (
            torch.nn.Identity() if dim == width else torch.nn.Linear(dim, width, bias=False)
        )
        self.attention = ScaledDotProductAttention(dropout)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        projections = (self.query, self.key, self.value)
        output, _ = self.attention(*(self._split(project(fields)) for project in projections))
        return torch.relu(output.transpose(1, 2).flatten(start_dim=2) + self.residual(fields))

    def _split(self, fields: torch.Tensor) -> torch.Tensor:
        """(batch, fields, width) to (batch, heads, fields, head_dim)."""
        return fields.unflatten(2, (-1, self.head_dim)).transpose(1, 2)


def _feature_map(work: Work) -> FeatureMap:
    features = FeatureMap("synthetic", data_dir="")
    field = {"type": "categorical", "source": "", "vocab_size": work.vocabulary}
    features.features = OrderedDict((name, field) for name in FIELDS)
    features.labels = ["click"]
    features.num_fields = features.get_num_fields()
    return features


def load(work: Work, law: str) -> Iterator[dict[str, torch.Tensor]]:
    """Batches as FuxiCTR's data loader gives them: a column of each field, and the label."""

    def batch(ids: Any, clicks: Any) -> dict[str, torch.Tensor]:
        columns = torch.from_numpy(ids.T.astype("int64"))
        return {**dict(zip(FIELDS, columns, strict=True)), "click": torch.from_numpy(clicks)}

    return itertools.cycle([batch(*pair) for pair in zip(*work.draw(law), strict=True)])


def build(work: Work) -> tuple[Run, int]:
    """A model, and what its `fit` does for every batch."""
    torch.manual_seed(0)
    model = {"FM": FM, "DeepFM": DeepFM, "AutoInt": AutoInt}[work.model](work)
    model.train()

    def run(batches: Iterator[Any], steps: int) -> None:
        for batch in itertools.islice(batches, steps):
            model.train_step(batch).item()

    return run, sum(weights.numel() for weights in model.parameters())


if __name__ == "__main__":
    serve(load, build)
