"""A runtime of MLServer; ``model-settings.json`` and ``settings.json`` are written by the test."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Churn(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        table = NumpyCodec.decode_input(payload.inputs[0])
        leaves = table[:, 0] / 100
        outputs = [
            NumpyCodec.encode_output("predict", (leaves > 0.4).astype(np.int64)),
            NumpyCodec.encode_output("predict_proba", np.stack([1 - leaves, leaves], axis=1)),
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)
