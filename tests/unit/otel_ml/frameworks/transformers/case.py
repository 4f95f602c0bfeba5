"""transformers for the contract tests of every framework: a tiny model with random weights, made here."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from otel_ml.frameworks.transformers import TransformersInstrumentor
from tests.support.framework_case import Case

os.environ.setdefault("HF_HUB_OFFLINE", "1")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "news", "from", "the", "north"]


def classifier(labels: int, **config: Any) -> Any:
    transformers: Any = importlib.import_module("transformers")
    importlib.import_module("torch").manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
        tokenizer = transformers.BertTokenizer(str(vocabulary), clean_up_tokenization_spaces=False)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(vocab_size=len(WORDS), num_labels=labels, **sizes, **config)
    )
    return transformers.TextClassificationPipeline(model=model.eval(), tokenizer=tokenizer, device=-1)


def make() -> dict[str, Any]:
    return {
        "two": classifier(2, id2label={0: "calm", 1: "angry"}),
        "three": classifier(3),
        "labels": classifier(2, problem_type="multi_label_classification"),
    }


CASE = Case(
    instrumentor=TransformersInstrumentor,
    make=make,
    table=lambda: ["good news", "bad news from the north"],
    predictions={
        "a text": lambda models, table: models["two"](table[0]),
        "texts": lambda models, table: models["two"](table),
        "all scores": lambda models, table: models["three"](table, top_k=None),
        "all scores of one": lambda models, table: models["three"](table[0], top_k=None),
        "the likeliest": lambda models, table: models["three"](table[0]),
    },
    silent={
        "raw outputs": lambda models, table: models["two"](table, function_to_apply="none"),
        "several labels": lambda models, table: models["labels"](table),
        "a generator": lambda models, table: list(models["two"](text for text in table)),
    },
    errors={"a number": lambda models, table: models["two"](7)},
    cheap=lambda models, table: models["two"](table[0]),
    dumps=None,
    copies={},
    skip={
        "test_uninstrument_restores_every_object_and_signatures_never_change": "reading lazy modules imports all",
        "test_eight_threads_lose_nothing": "a pipeline takes milliseconds; the base is tested with others",
    },
)
