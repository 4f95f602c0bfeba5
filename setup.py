"""The one part that is compiled; everything else about the package is in pyproject.toml."""

from setuptools import Extension, setup

ROOM = "collector_processor/decode/"
KINDS = ("octets", "protobuf", "columns", "state", "names", "attributes", "spans", "predictions")
PARTS = [f"{ROOM}wire_{kind}.pxi" for kind in KINDS]
# Optional: without a C compiler the installation succeeds, and requests are decoded in Python.
WIRE = Extension("collector_processor.decode.wire", [ROOM + "wire.pyx"], depends=PARTS, optional=True)

setup(ext_modules=[WIRE])
