"""A KServe model server in Python: ``python kserve_model.py PORT``."""

import sys
import uuid

from kserve import InferOutput, InferResponse, Model, ModelServer


class Churn(Model):
    def __init__(self) -> None:
        super().__init__("churn")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": ["leaves" if row["age"] > 40 else "stays" for row in payload["instances"]]}
        ages = payload.get_input_by_name("age").as_numpy().reshape(-1)
        scores = [float(age) / 100 for age in ages]
        outputs = [
            InferOutput(name="label", shape=[len(ages)], datatype="INT64", data=[int(age > 40) for age in ages]),
            InferOutput(name="score", shape=[len(ages)], datatype="FP64", data=scores),
        ]
        return InferResponse(payload.id or str(uuid.uuid4()), "churn", outputs, model_version="7")


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Churn()])
