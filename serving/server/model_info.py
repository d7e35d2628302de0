"""What the server tells of its models, as the protocol's messages: status and metadata."""

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.codes import Code
from serving.server.manager import ModelManager
from serving.server.savedmodel import Servable

SIGNATURE_DEF = "signature_def"  # the only kind of metadata that the protocol knows


def model_status(
    manager: ModelManager, name: str, version: int | None
) -> get_model_status_pb2.GetModelStatusResponse:
    """The status of one or all versions, newest first; NOT_FOUND if there is none."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for record in manager.status(name, version):
        status = response.model_version_status.add(version=record.version, state=record.state)
        status.status.error_code = record.error.code if record.error else Code.OK
        status.status.error_message = record.error.message if record.error else ""
    return response


def signature_defs(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Every signature in the SavedModel, without the values of defaults."""
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.signature_defs.items():
        definitions.signature_def[name].CopyFrom(definition)
        definitions.signature_def[name].defaults.clear()
    return definitions
