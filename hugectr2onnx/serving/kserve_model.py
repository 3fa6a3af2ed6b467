"""`ServedModel` as a model of KServe's SDK."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput
from prometheus_client import REGISTRY

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.monitor import Monitor
from hugectr2onnx.serving.open_inference import json_values
from hugectr2onnx.serving.prometheus_metrics import PrometheusInstruments
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.tensor_forms import datatype_of


class KServeModel(Model):
    """The model that KServe's server calls. Metrics go to the registry that the server shows at /metrics."""

    def __init__(self, served: ServedModel) -> None:
        super().__init__(served.name)
        self.served = served
        self.monitor = Monitor(served, PrometheusInstruments(REGISTRY))

    def load(self) -> bool:
        """Open the model and predict once. Raises FeedError for a file that is no model."""
        self.served.warm_up()
        self.ready = True
        return True

    def get_input_types(self) -> list[dict[str, object]]:
        return [form.to_dict() for form in self.served.inputs]

    def get_output_types(self) -> list[dict[str, object]]:
        return [form.to_dict() for form in self.served.outputs]

    async def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """The response to a request. Raises InvalidInput, a 400, for what does not fit the model."""
        try:
            if not isinstance(payload, InferRequest):
                raise FeedError("give a request of the Open Inference Protocol v2")
            outputs = await asyncio.get_running_loop().run_in_executor(None, self._predict, payload)
        except FeedError as error:
            self.monitor.refused("invalid")
            raise InvalidInput(str(error)) from None
        return InferResponse(
            # The SDK's answer must have one.
            response_id=payload.id or str(uuid.uuid4()),
            model_name=self.name,
            infer_outputs=[_output(name, array) for name, array in outputs.items()],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    def _predict(self, payload: InferRequest) -> dict[str, Array]:
        forms = {form.name: form for form in self.served.inputs}
        given = {}
        for tensor in payload.inputs:
            if tensor.name in forms:
                forms[tensor.name].check(tensor.datatype, tensor.shape)
            given[tensor.name] = json_values(tensor.name, tensor.datatype, tensor.shape, tensor.data)
        start = time.perf_counter()
        arrays = self.served.checked(given)
        found = self.served.scorer(arrays)
        self.monitor.predicted(arrays, found, time.perf_counter() - start)
        return found


def _output(name: str, array: Array) -> InferOutput:
    output = InferOutput(name, list(array.shape), datatype_of(array))
    output.set_data_from_numpy(array)
    return output
