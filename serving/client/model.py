"""What a server says of its models, in the same words for REST and gRPC."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Which model version is asked.

    Attributes:
        name: str. The model's name.
        version: int or None. None: the latest, or the one that `label` names.
        label: str or None. A version label of the server's configuration.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(
                f"give a version or a label, not both, got {self.version}, {self.label!r}"
            )


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of an input or output.

    Attributes:
        dtype: str. TensorFlow's name of the type, such as "DT_FLOAT".
        shape: tuple of int, or None. -1 stands for any size, None for any rank.
    """

    dtype: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """What a signature takes and gives.

    Attributes:
        name: str. Its name in the SavedModel.
        inputs: dict. Input name to `TensorInfo`.
        outputs: dict. Output name to `TensorInfo`.
        method_name: str. Such as "tensorflow/serving/predict".
    """

    name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str = ""


@dataclass(frozen=True)
class Metadata:
    """A model version and its signatures.

    Attributes:
        name: str. The model's name.
        version: int. The version that answered.
        signatures: dict. Signature name to `Signature`.
    """

    name: str
    version: int
    signatures: dict[str, Signature]

    def signature(self, name: str) -> Signature:
        """Finds a signature.

        Args:
            name: str. Its name.

        Returns:
            Signature.

        Raises:
            ValueError: if there is none of that name; lists those there are.
        """
        if name not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ValueError(f"model {self.name} has no signature {name}, only {known}")
        return self.signatures[name]


@dataclass(frozen=True)
class VersionStatus:
    """The state of a model version.

    Attributes:
        version: int. The version.
        state: str. "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error_code: str. "OK", or why loading failed, such as "INVALID_ARGUMENT".
        error_message: str. What went wrong, in words.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""
