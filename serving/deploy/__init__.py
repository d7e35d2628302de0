"""Files that run a folder of models in the real TensorFlow Serving."""

from serving.deploy.deployment import Deployment
from serving.deploy.files import write_deployment

__all__ = ["Deployment", "write_deployment"]
