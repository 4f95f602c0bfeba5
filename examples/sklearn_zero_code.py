"""scikit-learn without any code for monitoring.

Run it with `otel-ml serve --config examples/otel-ml.yaml`:
    OTEL_ML_MODEL_NAME=wine opentelemetry-instrument --service_name wine python examples/sklearn_zero_code.py
"""

from __future__ import annotations

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main() -> None:
    wine = load_wine(as_frame=True)
    train, test, classes, _ = train_test_split(wine.data, wine.target, random_state=0)
    model = RandomForestClassifier(random_state=0).fit(train, classes)
    for _ in range(20):
        model.predict_proba(test)
    print(f"{20 * len(test)} wines judged")


if __name__ == "__main__":
    main()
