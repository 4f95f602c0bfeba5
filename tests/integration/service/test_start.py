"""What a signal does that comes before the service is there."""

from __future__ import annotations

import subprocess
import sys

DEADLINE_S = 60.0
AS_PROCESS_1 = """
import os, threading
import collector_processor.__main__ as entry
os.getpid = lambda: 1
entry.find_spec = lambda name: print("importing", flush=True) or threading.Event().wait()
entry.main(["serve"])
"""
"""Process 1 whose imports take for ever."""


def test_sigterm_ends_process_1_while_it_still_imports() -> None:
    process = subprocess.Popen([sys.executable, "-c", AS_PROCESS_1], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.terminate()
        assert process.wait(DEADLINE_S) == 128 + 15
    finally:
        process.kill()
        process.communicate()
