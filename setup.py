"""The parts that are compiled; everything else about the package is in pyproject.toml."""

import sys

from setuptools import Extension, setup

ROOM = "collector_processor/decode/compiled/"
KINDS = (
    *("octets", "protobuf", "columns", "state", "names", "values", "attributes"),
    *("spans", "items", "predictions", "labels", "python"),
)
PARTS = [f"{ROOM}wire_{kind}.pxi" for kind in KINDS]
# Optional: without a C compiler the installation succeeds, and requests are decoded in Python.
WIRE = Extension("collector_processor.decode.compiled.wire", [ROOM + "wire.pyx"], depends=PARTS, optional=True)
# Sums are rounded as numpy rounds them: a product and a sum are two roundings, on every processor.
ARITHMETIC = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]
DOUBLES = "collector_processor/statistics/doubles.pxi"
# Optional too: numpy does the same.
FAST = [
    Extension(
        f"collector_processor.{name}",
        [f"collector_processor/{name.replace('.', '/')}.pyx"],
        depends=depends,
        extra_compile_args=ARITHMETIC,
        optional=True,
    )
    for name, depends in {
        "decode.compiled.packing": [ROOM + "wire_octets.pxi"],
        "decode.compiled.texts": [],
        "labels.slots": [],
        "statistics.sums": [DOUBLES],
        "statistics.terms": [DOUBLES],
        "statistics.walk": [],
    }.items()
]
ROWS = "collector_processor/detectors/"
# One source for both: Python as it stands, and compiled with the types beside it.
FAST.append(
    Extension(
        "collector_processor.detectors.compiled_rows",
        [ROWS + "rows.py"],
        depends=[ROWS + "compiled_rows.pxd"],
        extra_compile_args=ARITHMETIC,
        optional=True,
    )
)

setup(ext_modules=[WIRE, *FAST])
