"""Several optimizers in one `fit`, each with variables of its own."""

import re
from collections.abc import Mapping, MutableMapping, Sequence

import keras
from keras import ops

from ctr_keras.keras_internals import HandsGradientsOn, built_with, position
from ctr_keras.tables import catches_up, lags, updates_rows
from ctr_keras.types import Array, Config, LearningRate, Tensor, Variable


@keras.saving.register_keras_serializable(package="ctr_keras")
class RoutedOptimizer(HandsGradientsOn):
    """Sends each variable to an optimizer of its own; all of them use the same gradients.

    So one `fit` trains the gates of a search by `GRDA` and all other weights by Adam, in one step,
    compiled or not.

    Args:
        default: keras.optimizers.Optimizer of the variables that no route takes.
        routes: dict of optimizers by regular expression. A variable goes to the first one whose
            expression is found in its `path`.
        name: str. Defaults to `"routed"`.

    Raises:
        ValueError: for an optimizer that is given twice or scales the loss; when it is built, for a
            route that takes no variable.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="linear")])
    >>> optimizer = RoutedOptimizer(
    ...     keras.optimizers.Adam(0.001), {"bias$": keras.optimizers.SGD(0.1)}
    ... )
    >>> model.compile(optimizer, loss="mse")

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3.2: gates by GRDA and weights by Adam
        from the same gradients.
    """

    def __init__(
        self,
        default: str | keras.optimizers.Optimizer,
        routes: Mapping[str, str | keras.optimizers.Optimizer],
        name: str = "routed",
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.default = keras.optimizers.get(default)
        self.routes = {
            pattern: keras.optimizers.get(optimizer) for pattern, optimizer in routes.items()
        }
        if len({id(optimizer) for optimizer in self.optimizers}) <= len(self.routes):
            raise ValueError(f"each route needs an optimizer of its own. Received: {self.routes}")
        for optimizer in self.optimizers:
            _check_scale(optimizer)

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The default optimizer, then those of the routes."""
        return [self.default, *self.routes.values()]

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        # The positions of each optimizer's variables. Not the variables: in a step TensorFlow hands
        # over its own.
        self._shares: list[list[int]] = [[] for _ in self.optimizers]
        for index, variable in enumerate(variables):
            self._shares[self._route(variable)].append(index)
        for pattern, share in zip(self.routes, self._shares[1:], strict=True):
            if not share:
                paths = ", ".join(variable.path for variable in variables)
                raise ValueError(f"the route {pattern!r} takes none of the variables: {paths}")
        for optimizer, share in zip(self.optimizers, self._shares, strict=True):
            optimizer.build([variables[index] for index in share])

    def updates_rows(self, variable: Variable) -> bool:
        """Whether the optimizer of a variable updates it by rows."""
        return updates_rows(self.optimizers[self._route(variable)], variable)

    @property
    def catches_up(self) -> bool:
        """Whether rows are to catch up before they are read, for any of the optimizers."""
        return any(map(catches_up, self.optimizers))

    @property
    def lags(self) -> bool:
        """Whether rows wait for `catch_up_all`, for any of the optimizers."""
        return any(map(lags, self.optimizers))

    def catch_up(self, table: Variable, rows: Tensor) -> None:
        """Makes up for the steps that rows have missed, if their optimizer does so.

        Args:
            table: variable of the model.
            rows: int tensor, each row once.
        """
        optimizer = self.optimizers[self._route(table)]
        if catches_up(optimizer):
            optimizer.catch_up(table, rows)

    def catch_up_all(self) -> None:
        """Makes up for the missed steps of all rows of all tables."""
        for optimizer in filter(lags, self.optimizers):
            optimizer.catch_up_all()

    def finalize_variable_values(self, variables: Sequence[Variable]) -> None:
        """Has each optimizer finish its variables, such as replace them by their averages."""
        del variables
        for optimizer in self.optimizers:
            optimizer.finalize_variable_values(built_with(optimizer))

    def _route(self, variable: Variable) -> int:
        """The position of a variable's optimizer: 0 for the default."""
        found = (n for n, pattern in enumerate(self.routes, 1) if re.search(pattern, variable.path))
        return next(found, 0)

    @property
    def variables(self) -> list[Variable]:
        return [*super().variables, *(v for child in self.optimizers for v in child.variables)]

    @property
    def learning_rate(self) -> LearningRate:
        """The default optimizer's."""
        return self.default.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self.default.learning_rate = value

    def hand_on(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> None:
        """Gives each optimizer the gradients of its variables."""
        pairs = {position(self, v): (g, v) for g, v in zip(gradients, variables, strict=True)}
        for optimizer, share in zip(self.optimizers, self._shares, strict=True):
            given = [pairs[index] for index in share if index in pairs]
            if given:
                self._apply_one(optimizer, *map(list, zip(*given, strict=True)))

    def _apply_one(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: list[Tensor],
        variables: list[Variable],
    ) -> None:
        optimizer.apply(gradients, variables)

    def set_weights(self, weights: Sequence[Array]) -> None:
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    # Keras saves the optimizers as parts of this one, so only its own variables are left.

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        for index, variable in enumerate(super().variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        for index, variable in enumerate(super().variables):
            variable.assign(store[str(index)])

    def get_config(self) -> Config:
        return {
            "default": keras.optimizers.serialize(self.default),
            "routes": {
                pattern: keras.optimizers.serialize(optimizer)
                for pattern, optimizer in self.routes.items()
            },
            "name": self.name,
        }


def _check_scale(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses an optimizer that divides gradients by a scale of the loss, which it alone knows."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales or optimizer.loss_scale_factor:
        raise ValueError(
            f"the loss is one for all routes, so {optimizer.name} cannot scale it: give no "
            "loss_scale_factor or LossScaleOptimizer"
        )


@keras.saving.register_keras_serializable(package="ctr_keras")
class AlternatingOptimizer(RoutedOptimizer):
    """A RoutedOptimizer whose optimizers take turns: at each step one acts, the others rest.

    Given batches of two splits in turns, it makes a bi-level search of first order: weights learn
    from one split, gates from the other.

    Args:
        default, routes, name: as in `RoutedOptimizer`. The default has the first turn.

    Example:

    >>> weight, gate = keras.Variable([1.0], name="weight"), keras.Variable([1.0], name="gate")
    >>> sgd = keras.optimizers.SGD
    >>> optimizer = AlternatingOptimizer(sgd(1.0), {"gate": sgd(1.0)})
    >>> ones = [keras.ops.ones((1,)), keras.ops.ones((1,))]
    >>> optimizer.apply(ones, [weight, gate])
    >>> float(weight[0]), float(gate[0])
    (0.0, 1.0)

    References:
        [DARTS](https://arxiv.org/abs/1806.09055), Section 2.3, first-order approximation.
    """

    def _apply_one(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: list[Tensor],
        variables: list[Variable],
    ) -> None:
        turn = self.optimizers.index(optimizer)
        is_its_turn = ops.equal(self.iterations % len(self.optimizers), turn)
        # A compiled step cannot branch on the turn: all act, and who rests is put back.
        state = [*variables, *optimizer.variables]
        before = [ops.copy(variable) for variable in state]
        optimizer.apply(gradients, variables)
        for variable, value in zip(state, before, strict=True):
            variable.assign(ops.where(is_its_turn, ops.convert_to_tensor(variable), value))
