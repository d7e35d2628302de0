"""One server on this machine, for Docker Compose."""

import os
import shlex
from typing import Any

from serving.deploy.deployment import (
    BINARY,
    CONFIG_PATH,
    GRPC_PORT,
    REST_PORT,
    USER,
    Deployment,
    ready_path,
)
from serving.deploy.model_server import flags


def compose_project(deployment: Deployment, out: str) -> dict[str, Any]:
    """The compose file as data.

    Args:
        deployment: Deployment.
        out: str. The folder of the compose file, to which its paths are relative.
    """
    models = os.path.join(".", os.path.relpath(deployment.models_dir, out))
    of_models = [] if deployment.reads_address else [_mount(models, deployment.base_path)]
    service = {
        "image": deployment.image,
        "entrypoint": [BINARY],
        "command": flags(deployment),
        "ports": [f"127.0.0.1:{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
        "volumes": [*of_models, _mount(".", CONFIG_PATH)],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", _health_script(deployment)],
            "interval": "10s",
            "timeout": "5s",
            "start_period": "120s",
        },
        "cpus": deployment.cpus,
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }
    return {"name": deployment.name, "services": {deployment.name: service}}


def _health_script(deployment: Deployment) -> str:
    """A bash script that fails unless every model has an available version.

    The image has neither curl nor wget, so bash talks HTTP by itself.
    """
    paths = " ".join(shlex.quote(ready_path(model)) for model in deployment.models)
    script = (
        f"for path in {paths}; do "
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT} || exit 1; "
        r"printf 'GET %s HTTP/1.0\r\n\r\n' $path >&3; "
        "read -r _ status _ <&3; [ $status = 200 ] || exit 1; "
        "done"
    )
    return script.replace("$", "$$")  # Compose replaces variables in its file; $$ is a plain $


def _mount(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": True}
