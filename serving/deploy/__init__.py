"""Files that run a folder of models in the real TensorFlow Serving."""

from serving.deploy.deployment import Deployment
from serving.deploy.files import write_deployment
from serving.deploy.labels import assign, check_labelling, promote, rollback

__all__ = [
    "Deployment",
    "assign",
    "check_labelling",
    "promote",
    "rollback",
    "write_deployment",
]
