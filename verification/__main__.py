"""``python -m verification [TOPIC ...]``: measures what is promised; exit code 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from verification import page, registry
from verification.oracle import OracleError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the topics that are asked for, print what they found, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m verification", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"only these: {', '.join(registry.names())}")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: whether it works at all")
    parser.add_argument("--offline", action="store_true", help="leave out the topics that need other tools")
    parser.add_argument("--write", action="store_true", help=f"write docs/{page.PAGE.name} too")
    options = parser.parse_args(arguments)
    if options.write and options.quick:
        parser.error("--write needs the full measurement, without --quick")
    try:
        chosen = registry.chosen(options.topics)
    except ValueError as error:
        parser.error(str(error))
    broken: list[str] = []
    for name in chosen:
        topic = registry.topic(name)
        if options.offline and topic.oracles:
            continue
        start = time.monotonic()
        try:
            findings = topic.run(options.quick, lambda what, name=name: _progress(f"{name}: {what}"))
        except OracleError as error:
            _progress(f"{name}: not verified: {error}")
            broken.append(name)
            continue
        section = page.lines(topic, findings, time.monotonic() - start)
        print(*section, sep="\n", flush=True)
        if not findings.held:
            broken.append(name)
        if options.write:
            page.written({name: section}, registry.names())
    if broken:
        _progress(f"not kept or not verified: {', '.join(broken)}")
    return 1 if broken else 0


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
