"""Manual instrumentation: one handle, one `with`.

Run beside `otel-ml serve`:  opentelemetry-instrument --service_name shop python examples/manual.py
"""

from __future__ import annotations

import random

import otel_ml

model = otel_ml.Model("basket-value", version="3", task="binary_classification", positive_class="buys")


def score(basket: dict[str, float | str]) -> float:
    """Stands for your model."""
    return min(0.99, 0.1 + float(basket["items"]) / 20)


def main(rows: int = 200) -> None:
    for _ in range(rows):
        basket: dict[str, float | str] = {
            "items": random.randint(1, 15),
            "amount": round(random.lognormvariate(3, 1), 2),
            "country": random.choice(["DE", "FR", "IT"]),
        }
        with model.predict(basket) as prediction:
            probability = score(basket)
            prediction.record(score=probability, class_="buys" if probability > 0.5 else "leaves")
        # The truth, here at once; in production whenever it is known, from whichever process knows the id.
        model.label(prediction.id, class_="buys" if random.random() < probability else "leaves")


if __name__ == "__main__":
    main()
