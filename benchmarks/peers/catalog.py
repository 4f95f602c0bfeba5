"""Which tools are compared, what each of them computes, and where its figures are defined otherwise than ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
OURS: Final = "ours"
EVERYTHING: Final = "all"
"""Our case of every figure that there is."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a tool computes: its name in the tool's script, what it is, and our case of the same figures.

    ``notes`` says by figure and kind of column (``"psi numeric"``) why the numbers are not ours.
    """

    name: str
    what: str
    ours: str
    notes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool; ``pythons`` are the versions that its requirements install on, best first."""

    name: str
    title: str
    cases: tuple[Case, ...]
    pythons: tuple[str, ...] = ("3.11", "3.12")

    @property
    def requirements(self) -> Path:
        """The pinned packages of its environment."""
        return FOLDER / f"requirements-{self.name}.txt"

    @property
    def script(self) -> Path:
        """What runs in its environment."""
        return script_of(self.name)


def script_of(name: str) -> Path:
    """The script of a tool, or of ours."""
    return FOLDER / f"peer_{name.replace('-', '_')}.py"


_KS = "ours is read at 1,024 bins of the reference, so at most 1/1,024 below the exact statistic"
_SAME = "the same definition"
PEERS: Final = (
    Peer("scipy", "scipy", (
        Case("ks+chi2", "KS of numbers, χ² of texts, in a loop", "ks+chi2", {
            "ks numeric": _KS, "chi2 categorical": _SAME, "chi2_p categorical": _SAME,
        }),
    )),
    Peer("nannyml", "NannyML", (
        Case("ks+chi2", "KS of numbers, χ² of texts, one chunk", "ks+chi2", {
            "ks numeric": "it reads at 10,000 quantiles of the reference, ours at 1,024",
            "chi2 categorical": _SAME,
        }),
        Case("js", "its default, Jensen–Shannon of all, one chunk", "js", {
            "js numeric": "its bins: `doane`, even widths, one more for values outside; ours: deciles",
            "js categorical": _SAME,
        }),
    )),
    Peer("alibi-detect", "Alibi Detect", (
        Case("ks+chi2", "TabularDrift: KS of numbers, χ² of texts", "ks+chi2", {
            "ks numeric": f"{_KS}; it rounds to 32 bits",
            "chi2 categorical": "it rounds to 32 bits", "chi2_p categorical": "it rounds to 32 bits",
        }),
    )),
    Peer("frouros", "Frouros", (
        Case("psi", "PSI of numbers only", "psi of numbers", {
            "psi numeric": "its bins: 10 of even width over both sides, empty ones count as 2e-308; ours: deciles "
            "of the reference, empty ones count as 1e-4",
        }),
    )),
    Peer("evidently", "Evidently", (
        Case("wasserstein+js", "its default, Wasserstein of numbers, Jensen–Shannon of texts", "wasserstein+js", {
            "wasserstein numeric": "the same definition, ours from 1,024 bins and the sums in them",
            "js categorical": "the same once its base e is made base 2",
        }),
        Case("psi", "its preset with PSI of all", "psi", {
            "psi numeric": "its bins: even widths over both sides, their number by Sturges's rule; ours: deciles",
            "psi categorical": "the same, except for categories that one side lacks",
        }),
    )),
    Peer("whylogs", "whylogs", (
        Case("ks+chi2", "profiles with sketches, then KS of numbers, χ² of texts", "ks+chi2", {
            "ks numeric": "it reads at a few quantiles of KLL sketches, which are random",
            "chi2 categorical": "it treats the reference as exact (goodness of fit): about 11 times ours here",
        }),
    )),
)  # fmt: skip


def chosen(names: str) -> tuple[Peer, ...]:
    """The tools of those comma-separated names, all of them for none. Raises ``ValueError`` for another name."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {peer.name: peer for peer in PEERS}
    for name in wanted:
        if name not in known:
            raise ValueError(f"no such tool: '{name}'; there are: {', '.join(known)}")
    return tuple(known[name] for name in wanted or known)
