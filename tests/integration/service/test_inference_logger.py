"""Models behind KServe's logger in the whole service: figures as from an instrumented application, with workers too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from collector_processor.config import parse_config
from collector_processor.service.run import Service
from collector_processor.service.workers.supervisor import Source
from support.inference_events import kserve, post
from support.waiting import wait_until

CALLS, ROWS = 40, 5


@pytest.mark.parametrize("workers", [1, 2])
def test_every_call_counts_once_whichever_connection_its_events_come_on(
    tmp_path: Path, service_settings: Callable[..., dict[str, Any]], workers: int
) -> None:
    changes = {
        "receivers": {"inference_logger": {"endpoint": "localhost:0"}},
        "service": {"pipelines": {"traces": {"receivers": ["inference_logger"], "exporters": ["ml_monitor"]}}},
        "connectors": {"ml_monitor": {"reference": {"learn": CALLS * ROWS}}},
    }
    text = yaml.safe_dump(service_settings(tmp_path / "state", changes))
    service = Service(parse_config(text), workers=workers, source=Source(text, Path()))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(60)
        port = dict(service.addresses())["inference_logger"]

        def call(number: int) -> None:
            request = {"instances": [{"age": number + row, "plan": "pro"} for row in range(ROWS)]}
            response = {"predictions": [row % 2 for row in range(ROWS)]}
            assert post(port, kserve("request", str(number)), request)[0] == 200
            assert post(port, kserve("response", str(number)), response)[0] == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(CALLS)))

        def rows() -> float:
            metrics = requests.get(f"http://localhost:{service.own_metrics.port}/metrics", timeout=10).text
            return sum(
                float(line.rpartition(" ")[2])
                for line in metrics.splitlines()
                if line.startswith("otel_ml_rows_total{") and 'model="churn"' in line
            )

        wait_until(lambda: rows() == CALLS * ROWS)
    finally:
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
