"""What a run says of the crossed features that its model leaves out."""

from ctr_keras.features import FeatureSet

_NAMED = 3  # of many


def print_left_out(model: str, read: FeatureSet, features: FeatureSet) -> None:
    """Prints which crossed features of the data a model does not read, if any.

    Args:
        model: str. Its name.
        read: FeatureSet that it is built on.
        features: FeatureSet of the data.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y")
    ... )
    >>> print_left_out("FM", features.without_crossed(), features)
    FM leaves out the crossed features a_x_b; to keep them: --set crossed=true
    >>> print_left_out("FM", features, features)
    """
    names = [feature.name for feature in features.crossed if feature not in read.crossed]
    if names:
        named = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        print(
            f"{model} leaves out the crossed features {named}{more}; to keep them: "
            "--set crossed=true",
            flush=True,
        )
