"""How the script of an oracle is asked, in the environment of its tool; nothing but the standard library is needed."""

import contextlib
import json
import sys
from importlib.metadata import version


def answer(function, packages):
    """Call ``function`` with the question and print what it returns; what the tool prints goes to standard error."""
    question = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        value = function(question)
    print(json.dumps({"value": value, "versions": {package: version(package) for package in packages}}))
