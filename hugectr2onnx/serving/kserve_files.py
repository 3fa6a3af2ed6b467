"""A folder that deploys a model with KServe: its YAML, a container for the server, the files of the model."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hugectr2onnx.backend.onnx.emitter import PRODUCER
from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.errors import OptionError
from hugectr2onnx.serving.model_files import copy_model, new_folder
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.version import __version__

_FORMAT = PRODUCER
PORT = 8080
_KUBERNETES_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MOUNTED = "/mnt/models"
"""Where KServe's storage initializer puts the files of a model."""


@dataclass(frozen=True)
class KServeOptions:
    """image: of the server, as the cluster pulls it. storage: where the folder `models/NAME` will lie, such as pvc:// or s3://.

    cpus, memory_gib: of one replica. min_replicas, max_replicas: between which KServe scales.
    """

    image: str = "registry.example/hugectr2onnx-kserve:latest"
    storage: str | None = None
    cpus: int = 2
    memory_gib: int = 4
    min_replicas: int = 1
    max_replicas: int = 3


def export_kserve(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    options: KServeOptions | None = None,
    force: bool = False,
) -> Path:
    """Write the folder. Raises OptionError for a name that Kubernetes refuses, OutputError for a folder that is there."""
    options = options or KServeOptions()
    model = ServedModel(path, name if name is not None else Path(path).stem.lower().replace("_", "-"))
    if not _KUBERNETES_NAME.fullmatch(model.name):
        raise OptionError(
            f"the name {model.name} of the model: Kubernetes takes lower-case letters, digits and '-'", option="name"
        )
    model.warm_up()
    texts = {
        "serving_runtime.yaml": serving_runtime(options),
        "inference_service.yaml": inference_service(model.name, options),
        "Dockerfile": DOCKERFILE,
        ".dockerignore": "models\n",
        "requirements.txt": f"hugectr2onnx[kserve]=={__version__}\n",
    }
    target = Path(folder)
    with new_folder(target, force, "inference_service.yaml") as hidden:
        for file, text in texts.items():
            (hidden / file).write_text(text, encoding="utf-8")
        place = hidden / "models" / model.name
        place.mkdir(parents=True)
        copy_model(path, place, EXPORTED_NAME)
    return target


def serving_runtime(options: KServeOptions) -> str:
    """Tell how KServe starts the server: once for a namespace."""
    return f"""\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata:
  name: {_FORMAT}
spec:
  annotations:
    prometheus.kserve.io/port: "{PORT}"
    prometheus.kserve.io/path: /metrics
  supportedModelFormats:
    - name: {_FORMAT}
      version: "1"
      autoSelect: true
  protocolVersions:
    - v2
  containers:
    - name: kserve-container
      image: {json.dumps(options.image)}
      args:
        - {MOUNTED}/{EXPORTED_NAME}
        - --name={{{{.Name}}}}
        - --host=0.0.0.0
        - --port={PORT}
      ports:
        - containerPort: {PORT}
          protocol: TCP
      readinessProbe:
        httpGet:
          path: /v2/health/ready
          port: {PORT}
        periodSeconds: 2
      livenessProbe:
        httpGet:
          path: /v2/health/live
          port: {PORT}
        periodSeconds: 10
        failureThreshold: 6
      resources:
        requests:
          cpu: "{options.cpus}"
          memory: {options.memory_gib}Gi
        limits:
          cpu: "{options.cpus}"
          memory: {options.memory_gib}Gi
      securityContext:
        runAsNonRoot: true
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop:
            - ALL
"""


def inference_service(name: str, options: KServeOptions) -> str:
    """Return the model that KServe deploys."""
    storage = options.storage or f"pvc://models/{name}"
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    minReplicas: {options.min_replicas}
    maxReplicas: {options.max_replicas}
    model:
      modelFormat:
        name: {_FORMAT}
        version: "1"
      protocolVersion: v2
      runtime: {_FORMAT}
      storageUri: {json.dumps(storage)}
"""


DOCKERFILE = f"""\
# Pin both images by digest before this goes to production: `docker buildx imagetools inspect IMAGE:TAG` shows it;
# write IMAGE:TAG@sha256:... in its place.
ARG BUILD=python:3.11-slim-bookworm
ARG RUN=gcr.io/distroless/python3-debian12:nonroot

FROM ${{BUILD}} AS build
COPY requirements.txt /requirements.txt
RUN pip install --no-cache-dir --target=/packages --requirement /requirements.txt

# No shell, no package manager, no root.
FROM ${{RUN}}
COPY --from=build /packages /packages
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER 65532:65532
EXPOSE {PORT}
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/bin/python3", "-c", \
"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/v2/health/ready', timeout=2)"]
ENTRYPOINT ["/usr/bin/python3", "-m", "hugectr2onnx.serving.kserve_server"]
CMD ["{MOUNTED}/{EXPORTED_NAME}", "--host=0.0.0.0", "--port={PORT}"]
"""
