"""Every call of the client, once: what to send, what to make of the answer, when to ask again."""

import itertools
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from serving.client.examples import OfExamples
from serving.client.model import Metadata, ModelSpec, Signature, VersionStatus
from serving.client.retries import Deadline, Retry, ServingError
from serving.client.tables import as_columns, columns_of_rows, to_frame, to_rows
from serving.client.transport import Transport, settled
from serving.client.values import is_pandas, to_arrays
from serving.codes import Code
from serving.types import Array, Arrays, Row, Table, Value

DEFAULT_SIGNATURE = "serving_default"
_POLL_SECONDS = 0.1
# What a server says when a request does not fit the model that it has by now.
_REQUEST_DOES_NOT_FIT = {Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION}

Answer = TypeVar("Answer")


class Calls:
    """The calls that both clients share, as coroutines.

    They suspend only where the transport and `sleep` do, so over blocking ones they need no event
    loop: that is how `Client` runs them. `sleep` returns what has to be awaited, or nothing.
    """

    def __init__(
        self, transport: Transport, sleep: Callable[[float], Any], timeout: float, retry: Retry
    ):
        self._transport = transport
        self._sleep = sleep
        self._timeout = timeout
        self._retry = retry
        self._metadata: dict[ModelSpec, Metadata] = {}

    async def predict(
        self,
        model: str,
        inputs: Table,
        *,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        timeout: float | None = None,
        ignore: Collection[str] = (),
    ) -> Any:
        """Runs a signature.

        Values become what the signature takes: None and NaN are missing values, sent as `""` to a
        string input and as NaN to a float input, while other types need a value; a number for a
        string input is sent as a string.

        Args:
            model: str. The model's name.
            inputs: dict of columns (lists, arrays, or single values for inputs without dimensions),
                pandas.DataFrame, or list of dict: rows. Columns are the signature's inputs.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "serving_default".
            timeout: float or None. Seconds for the whole call. None: the client's.
            ignore: collection of str. Columns not to send.

        Returns:
            dict, output name to NumPy array (strings: dtype object, holding str, or bytes where
            the name ends in `_bytes`). For a data frame: pandas.DataFrame with the same index.

        Raises:
            ValueError: if columns or values do not fit the signature; says which. Rows are counted
                from 1.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.predict("ctr", {"site": ["a", "b"], "price": [1.5, None]})
        {'score': array([0.5 , 0.25], dtype=float32)}
        """
        outputs = await self._run(
            ModelSpec(model, version, label),
            signature_name,
            lambda signature: to_arrays(as_columns(inputs), signature.inputs, ignore),
            self._deadline(timeout),
        )
        return to_frame(outputs, inputs.index) if is_pandas(inputs, "DataFrame") else outputs

    async def rank(
        self,
        model: str,
        *,
        user: Row,
        items: Table,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = "rank",
        timeout: float | None = None,
        ignore: Collection[str] = (),
    ) -> Any:
        """Scores many items for one user, whose columns are sent once.

        Args:
            model: str. The model's name.
            user: dict. Column name to the one value of user and context.
            items: dict of columns, pandas.DataFrame, or list of dict: one row an item.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "rank".
            timeout: float or None. Seconds for the whole call. None: the client's.
            ignore: collection of str. Columns not to send.

        Returns:
            numpy.ndarray, the score of each item; for a data frame: pandas.Series with its index.
            Without items, none, and no server is asked.

        Raises:
            ValueError: if columns or values do not fit the signature; says which.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.rank("ctr", user={"age": "25"}, items={"site": ["a", "bb"]})
        array([1., 2.], dtype=float32)
        """
        columns = as_columns(items)
        if twice := [name for name in user if name in columns]:
            raise ValueError(f"column {twice[0]} is both the user's and the items'")
        count = max(map(len, columns.values()), default=None)
        if (count if isinstance(items, Mapping) else len(items)) == 0:
            return _of_items(np.array([], np.float32), items)
        columns |= {name: [value] for name, value in user.items()}

        def convert(signature: Signature) -> Arrays:
            arrays = to_arrays(columns, signature.inputs, ignore)
            # One list of candidates for one user: of one length, as servers that batch want it.
            return {k: v if k in user else v[np.newaxis] for k, v in arrays.items()}

        outputs = await self._run(
            ModelSpec(model, version, label), signature_name, convert, self._deadline(timeout)
        )
        if "score" not in outputs:
            raise ValueError(f"signature {signature_name} has no output score, only {[*outputs]}")
        # A server that joins requests may have padded the list to the longest of its batch.
        return _of_items(outputs["score"][0][:count], items)

    def batches(
        self,
        spec: ModelSpec,
        signature_name: str,
        rows: Iterable[Row],
        batch_size: int,
        timeout: float | None,
        ignore: Collection[str],
    ) -> Iterator[Coroutine[Any, Any, list[Value]]]:
        """Yields a call for each batch of rows: see `Client.predict_rows`."""

        async def predict(batch: list[Row], first_row: int) -> list[Value]:
            def to_inputs(signature: Signature) -> Arrays:
                columns = columns_of_rows(batch, signature.inputs, ignore, first_row)
                return to_arrays(columns, signature.inputs, first_row=first_row)

            outputs = await self._run(spec, signature_name, to_inputs, self._deadline(timeout))
            return to_rows(outputs, len(batch))

        remaining, first_row = iter(rows), 1
        while batch := list(itertools.islice(remaining, batch_size)):
            yield predict(batch, first_row)
            first_row += len(batch)

    async def classify(
        self,
        model: str,
        examples: Table,
        *,
        context: Row | None = None,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        timeout: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Runs a signature that classifies `tf.Example`s.

        Args:
            model: str. The model's name.
            examples: list of dict, feature name to value or list of values: str, bytes, floats or
                integers, and None for nothing. Or a pandas.DataFrame.
            context: dict or None. Features of all examples.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "serving_default".
            timeout: float or None. Seconds for the whole call. None: the client's.

        Returns:
            list, one entry an example: a list of (label, score) pairs.

        Raises:
            ValueError: if the values of a feature are not of one kind.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.classify("genre", [{"title": "Alien"}])
        [[('horror', 0.75), ('comedy', 0.25)]]
        """
        spec = ModelSpec(model, version, label)
        asked = OfExamples.of(spec, signature_name, examples, context)
        return await self._ask(self._transport.classify, asked, deadline=self._deadline(timeout))

    async def regress(
        self,
        model: str,
        examples: Table,
        *,
        context: Row | None = None,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        timeout: float | None = None,
    ) -> Array:
        """Runs a signature that gives `tf.Example`s a value.

        Args:
            model: str. The model's name.
            examples: list of dict, or pandas.DataFrame. As for `classify`.
            context: dict or None. Features of all examples.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "serving_default".
            timeout: float or None. Seconds for the whole call. None: the client's.

        Returns:
            numpy.ndarray of float32, shape [examples].

        Raises:
            ValueError: if the values of a feature are not of one kind.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.regress("genre", [{"rooms": 3}, {"rooms": 4}], signature_name="price")
        array([300., 400.], dtype=float32)
        """
        spec = ModelSpec(model, version, label)
        asked = OfExamples.of(spec, signature_name, examples, context)
        values = await self._ask(self._transport.regress, asked, deadline=self._deadline(timeout))
        return np.array(values, np.float32)

    async def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Metadata:
        """Asks what signatures a model has.

        Args:
            model: str. The model's name.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            timeout: float or None. Seconds for the whole call. None: the client's.

        Returns:
            Metadata.

        Raises:
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.metadata("ctr").signature("rank").outputs
        {'score': TensorInfo(dtype='DT_FLOAT', shape=(-1, -1))}
        """
        spec = ModelSpec(model, version, label)
        return await self._metadata_of(spec, self._deadline(timeout))

    async def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> list[VersionStatus]:
        """Asks which versions of a model there are, and how they are.

        Args:
            model: str. The model's name.
            version: int or None. None: all versions.
            timeout: float or None. Seconds for the whole call. None: the client's.

        Returns:
            list of VersionStatus, newest first.

        Raises:
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> client.status("ctr")
        [VersionStatus(version=1, state='AVAILABLE', error_code='OK', error_message='')]
        """
        spec = ModelSpec(model, version)
        return await self._ask(self._transport.status, spec, deadline=self._deadline(timeout))

    async def wait_until_available(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> int:
        """Waits until a model can be asked: for the server, for the model, for a version.

        Args:
            model: str. The model's name.
            version: int or None. None: any version.
            timeout: float or None. Seconds to wait. None: the client's timeout.

        Returns:
            int. The version that is available, the highest if there are several.

        Raises:
            ServingError: DEADLINE_EXCEEDED after `timeout`, with the last state;
                FAILED_PRECONDITION if every version that the server knows of failed to load.

        Example:

        >>> client.wait_until_available("ctr", timeout=30)
        1
        """
        deadline = self._deadline(timeout)
        while True:
            try:
                found = await self._transport.status(ModelSpec(model, version), deadline)
                if available := [entry.version for entry in found if entry.state == "AVAILABLE"]:
                    return max(available)
                _raise_if_failed(model, found)
                last = f"versions: {found}"
            except ServingError as error:
                if not error.retryable and error.code != Code.NOT_FOUND:
                    raise
                last = str(error)
            await self._pause(_POLL_SECONDS, deadline, last)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    async def _run(
        self,
        spec: ModelSpec,
        signature_name: str,
        to_inputs: Callable[[Signature], Arrays],
        deadline: Deadline,
    ) -> Arrays:
        """Runs a signature on the inputs that are made to fit it.

        Signatures are remembered. If a request does not fit, a new version may have others by
        now: then they are asked for, and the request is made again.
        """

        async def send(metadata: Metadata) -> Arrays:
            signature = metadata.signature(signature_name)
            inputs = to_inputs(signature)
            return await self._ask(
                self._transport.predict, spec, signature, inputs, deadline=deadline
            )

        known, misfit = self._metadata.get(spec), None
        if known is not None:
            try:
                return await send(known)
            except (ValueError, ServingError) as error:
                if isinstance(error, ServingError) and error.code not in _REQUEST_DOES_NOT_FIT:
                    raise
                misfit = error
        fresh = await self._metadata_of(spec, deadline)
        if misfit is not None and fresh == known:
            raise misfit
        self._metadata[spec] = fresh
        return await send(fresh)

    async def _metadata_of(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        """Signatures; the error for an unknown model names those that there are."""
        try:
            return await self._ask(self._transport.metadata, spec, deadline=deadline)
        except ServingError as error:
            names = await self._transport.names(deadline) if error.code == Code.NOT_FOUND else []
            if not names or spec.name in names:
                raise
            there = f"the server has {', '.join(names)}"
            raise ServingError(error.code, f"{error.message}; {there}") from None

    async def _ask(
        self,
        question: Callable[..., Coroutine[Any, Any, Answer]],
        *arguments: Any,
        deadline: Deadline,
    ) -> Answer:
        """Asks the server, several times if need be."""
        delays = self._retry.delays()
        while True:
            try:
                return await question(*arguments, deadline)
            except ServingError as error:
                delay = next(delays, None) if error.retryable else None
                if delay is None:
                    raise
                last = str(error)
            await self._pause(delay, deadline, last)

    async def _pause(self, seconds: float, deadline: Deadline, reason: str) -> None:
        """Waits before the next attempt, if there is time for one."""
        try:
            deadline.remaining(seconds)
        except ServingError as error:
            raise ServingError(error.code, f"{error.message}; the last was {reason}") from None
        await settled(self._sleep(seconds))


def _of_items(scores: Array, items: Table) -> Any:
    """Scores of items as they were given."""
    if is_pandas(items, "DataFrame"):
        return to_frame({"score": scores}, items.index)["score"]
    return scores


def _raise_if_failed(model: str, found: Sequence[VersionStatus]) -> None:
    failed = [entry for entry in found if entry.state == "END" and entry.error_code != "OK"]
    if failed and len(failed) == len(found):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"version {failed[0].version} of {model} failed to load: "
            f"{failed[0].error_code}: {failed[0].error_message}",
        )
