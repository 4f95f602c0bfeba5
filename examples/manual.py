"""Manual instrumentation: one handle, one `with`.

Run it with `otel-ml serve --config examples/otel-ml.yaml`:
    opentelemetry-instrument --service_name shop python examples/manual.py
With a file name, it writes the labels to that file for `label_job.py` instead of sending them.
"""

from __future__ import annotations

import csv
import random
import sys

import otel_ml

model = otel_ml.Model("basket-value", version="3", task="binary_classification", positive_class="buys")


def score(basket: dict[str, float | str]) -> float:
    """A placeholder for your model."""
    return min(0.99, 0.1 + float(basket["items"]) / 20)


def main(labels_path: str | None = None, rows: int = 200) -> None:
    truth: list[tuple[str, str]] = []
    for _ in range(rows):
        basket: dict[str, float | str] = {
            "items": random.randint(1, 15),
            "amount": round(random.lognormvariate(3, 1), 2),
            "country": random.choice(["DE", "FR", "IT"]),
        }
        with model.predict(basket) as prediction:
            probability = score(basket)
            prediction.record(score=probability, class_="buys" if probability > 0.5 else "leaves")
        truth.append((prediction.id, "buys" if random.random() < probability else "leaves"))
    if labels_path is None:
        # The label is known immediately here; in production it can arrive later, from any process that knows the id.
        for prediction_id, class_ in truth:
            model.label(prediction_id, class_=class_)
        print(f"{rows} predictions and labels of model basket-value sent")
        return
    with open(labels_path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("prediction_id", "class"), *truth])
    print(f"{rows} predictions of model basket-value sent, the truth written to {labels_path}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
