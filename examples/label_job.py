"""A nightly label job: reads prediction ids with the true classes, and sends them as labels in bulk.

Run:  opentelemetry-instrument --service_name labels python examples/label_job.py labels.csv
The file has two columns, `prediction_id` and `class`; `examples/manual.py labels.csv` writes one.
"""

from __future__ import annotations

import csv
import sys

import otel_ml


def main(path: str, model_name: str = "basket-value") -> int:
    model = otel_ml.Model(model_name)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    model.labels([row["prediction_id"] for row in rows], classes=[row["class"] for row in rows])
    print(f"{len(rows)} labels sent")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
