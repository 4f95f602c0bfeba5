"""What the doctor found: facts in sections, and problems with their remedies."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps predictions from arriving, or a warning if it only may; and what to do about it."""

    what: str
    remedy: str
    warning: bool = False


@dataclass(slots=True)
class Findings:
    """Facts by section, in order, and the problems."""

    facts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    problems: list[Problem] = field(default_factory=list[Problem])
    prediction: str = ""
    """What the test prediction looks like when it leaves."""

    def fact(self, section: str, name: str, value: str) -> None:
        """Add a fact."""
        self.facts.setdefault(section, {})[name] = value

    def problem(self, what: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(what, remedy))

    def warn(self, what: str, remedy: str) -> None:
        """Add a warning, which does not make the check fail."""
        self.problems.append(Problem(what, remedy, warning=True))

    @property
    def healthy(self) -> bool:
        """Whether there is no problem but warnings."""
        return all(problem.warning for problem in self.problems)

    def as_json(self) -> dict[str, object]:
        """Return everything in a form for JSON."""
        return {
            "healthy": self.healthy,
            **self.facts,
            "prediction": self.prediction.splitlines(),
            "problems": [
                {"what": each.what, "remedy": each.remedy, "level": "warning" if each.warning else "problem"}
                for each in self.problems
            ],
        }
