"""A client for TensorFlow Serving's API, for the real server and the embedded one.

`Client` blocks, `AsyncClient` has the same methods as coroutines; the URL chooses REST (http://,
https://) or gRPC (grpc://). REST needs no TensorFlow; the official gRPC stubs import it.
"""

from serving.client.clients import AsyncClient, Client, predict_rows
from serving.client.model import Metadata, Signature, TensorInfo, VersionStatus
from serving.client.retries import Retry, ServingError
from serving.codes import Code

__all__ = [
    "AsyncClient",
    "Client",
    "Code",
    "Metadata",
    "Retry",
    "ServingError",
    "Signature",
    "TensorInfo",
    "VersionStatus",
    "predict_rows",
]
