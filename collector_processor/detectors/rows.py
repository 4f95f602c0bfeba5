"""Detectors that look at one value after another, with the defaults and the exact alarms of River 0.26.

Each keeps a few numbers, and begins again with the value after an alarm. None of them promises a rate of false alarms.

This file is Python; where there is a C compiler, ``compiled_rows.pyx`` is the same file with types, and gives the same
alarms (:mod:`.built`).
"""

from math import log, sqrt

_LEVELS = 48
"""Sizes of ADWIN's buckets: powers of two up to 2⁴⁷ rows."""
_BUCKETS = 5
"""Most buckets of one size before two of them are merged."""


class PageHinkley:
    """Page and Hinkley's test for a rise or fall of the mean.

    The sums of the differences from the mean so far, less and plus a tolerance δ, each forgetting a part 1 − α of
    itself, against their least and greatest value. Source: E. S. Page, "Continuous inspection schemes", Biometrika 41,
    1954. River's sum for a fall begins with −1 as its greatest value, and so does this one.
    """

    def __init__(self, least: int = 30, delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999) -> None:
        self.least = least
        self.delta = delta
        self.threshold = threshold
        self.alpha = alpha
        self.begin()

    def begin(self) -> None:
        """Forget every value."""
        self.count = self.mean = self.rise = self.fall = 0.0
        self.lowest_rise = float("inf")
        self.highest_fall = -1.0
        self.alarmed = False

    def see(self, x: float) -> bool:
        """Return whether a value raises an alarm."""
        if self.alarmed:
            self.begin()
        self.count += 1.0
        self.mean += 1.0 / self.count * (x - self.mean)
        apart = x - self.mean
        self.rise = self.alpha * self.rise + apart - self.delta
        self.fall = self.alpha * self.fall + apart + self.delta
        self.lowest_rise = min(self.lowest_rise, self.rise)
        self.highest_fall = max(self.highest_fall, self.fall)
        if self.count >= self.least:
            risen, fallen = self.rise - self.lowest_rise, self.highest_fall - self.fall
            self.alarmed = risen > self.threshold or fallen > self.threshold
        return self.alarmed

    def state(self) -> list[float]:
        """Return what it keeps."""
        return [
            self.count, self.mean, self.rise, self.fall, self.lowest_rise, self.highest_fall, float(self.alarmed),
        ]  # fmt: skip

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        self.count, self.mean, self.rise, self.fall, self.lowest_rise, self.highest_fall = state[:6]
        self.alarmed = state[6] > 0.0


class DDM:
    """Drift detection method: the error rate p against the least p + s so far, with s = √(p(1 − p)/n).

    Source: J. Gama, P. Medas, G. Castillo and P. Rodrigues, "Learning with drift detection", SBIA 2004.
    """

    def __init__(self, least: int = 30, deviations: float = 3.0) -> None:
        self.least = least
        self.deviations = deviations
        self.begin()

    def begin(self) -> None:
        """Forget every value."""
        self.count = self.mean = 0.0
        self.best_mean = self.best_spread = 0.0
        self.best = float("inf")
        self.alarmed = False

    def see(self, x: float) -> bool:
        """Return whether a value, 0 or 1, raises an alarm."""
        if self.alarmed:
            self.begin()
        self.count += 1.0
        self.mean += 1.0 / self.count * (x - self.mean)
        if self.count > self.least:
            spread = sqrt(max(self.mean * (1.0 - self.mean), 0.0) / self.count)
            if self.mean + spread <= self.best:
                self.best_mean, self.best_spread = self.mean, spread
                self.best = self.mean + spread
            self.alarmed = self.mean + spread > self.best_mean + self.deviations * self.best_spread
        return self.alarmed

    def state(self) -> list[float]:
        """Return what it keeps."""
        return [self.count, self.mean, self.best_mean, self.best_spread, self.best, float(self.alarmed)]

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        self.count, self.mean, self.best_mean, self.best_spread, self.best = state[:5]
        self.alarmed = state[5] > 0.0


class EDDM:
    """Early drift detection method: the rows between two errors, as their mean plus two standard deviations.

    An alarm is when it falls below a share β of its greatest value. Source: M. Baena-García et al., "Early drift
    detection method", 4th International Workshop on Knowledge Discovery from Data Streams, 2006.
    """

    def __init__(self, least: int = 30, beta: float = 0.9) -> None:
        self.least = least
        self.beta = beta
        self.begin()

    def begin(self) -> None:
        """Forget every value."""
        self.count = self.last_error = self.errors = self.mean = self.squares = 0.0
        self.greatest = -1.0
        self.alarmed = False

    def see(self, x: float) -> bool:
        """Return whether a value, 0 or 1, raises an alarm."""
        if self.alarmed:
            self.begin()
        self.count += 1.0
        if x != 1.0:
            return False
        gap, before = self.count - self.last_error, self.mean
        self.last_error = self.count
        self.errors += 1.0
        self.mean += 1.0 / self.errors * (gap - self.mean)
        self.squares += (gap - before) * (gap - self.mean)
        if self.count > self.least:
            variance = self.squares / (self.errors - 1.0) if self.errors > 1.0 else 0.0
            reach = self.mean + 2.0 * sqrt(variance)
            if reach > self.greatest:
                self.greatest = reach
            elif self.errors > self.least:
                self.alarmed = reach / self.greatest < self.beta
        return self.alarmed

    def state(self) -> list[float]:
        """Return what it keeps."""
        return [
            self.count, self.last_error, self.errors, self.mean, self.squares, self.greatest, float(self.alarmed),
        ]  # fmt: skip

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        self.count, self.last_error, self.errors, self.mean, self.squares, self.greatest = state[:6]
        self.alarmed = state[6] > 0.0


class HDDMA:
    """Drift detection by Hoeffding's bound on averages: the mean of all values against that of a first part of them.

    The first part is the one whose mean plus its bound is least. Source: I. Frías-Blanco et al., "Online and
    non-parametric drift detection methods based on Hoeffding's bounds", IEEE TKDE 27(3), 2015.
    """

    def __init__(self, confidence: float = 0.001) -> None:
        self.confidence = confidence
        self.begin()

    def begin(self) -> None:
        """Forget every value."""
        self.count = self.mean = self.first_count = self.first_mean = 0.0
        self.alarmed = False

    def see(self, x: float) -> bool:
        """Return whether a value within [0, 1] raises an alarm."""
        if self.alarmed:
            self.begin()
        self.count += 1.0
        self.mean += 1.0 / self.count * (x - self.mean)
        odds = log(1.0 / self.confidence)
        bound = sqrt(1.0 / (2.0 * self.count) * odds)
        if self.first_count == 0.0 or (
            self.first_mean + sqrt(1.0 / (2.0 * self.first_count) * odds) >= self.mean + bound
        ):
            self.first_count, self.first_mean = self.count, self.mean
        if self.first_count < self.count:
            m = (self.count - self.first_count) / self.first_count * (1.0 / self.count)
            self.alarmed = self.mean - self.first_mean >= sqrt(m / 2.0 * log(2.0 / self.confidence))
        return self.alarmed

    def state(self) -> list[float]:
        """Return what it keeps."""
        return [self.count, self.mean, self.first_count, self.first_mean, float(self.alarmed)]

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        self.count, self.mean, self.first_count, self.first_mean = state[:4]
        self.alarmed = state[4] > 0.0


class ADWIN:
    """Adaptive windowing: the newest values, as many as have no two parts with different means.

    Values are kept as sums of buckets, whose sizes are powers of two. At every 32nd value each border of two buckets is
    tested, and while one of them separates different means, the oldest bucket leaves. Source: A. Bifet and R. Gavaldà,
    "Learning from time-changing data with adaptive windowing", SDM 2007; the bound has the variance of the window.
    River begins with an empty window after each alarm, and so does this one.
    """

    def __init__(self, delta: float = 0.002, clock: int = 32, least_part: int = 5, least: int = 10) -> None:
        self.delta = delta
        self.clock = clock
        self.least_part = least_part
        self.least = least
        self.begin()

    def begin(self) -> None:
        """Forget every value."""
        self.seen = 0
        self.width = self.total = self.variance = 0.0
        self.totals: list[list[float]] = [[]]
        self.variances: list[list[float]] = [[]]
        self.alarmed = False

    def see(self, x: float) -> bool:
        """Return whether a value raises an alarm."""
        if self.alarmed:
            self.begin()
        self._insert(x)
        self.seen += 1
        if self.seen % self.clock == 0 and self.width > self.least:
            while self._differs():
                self.alarmed = True
                self._forget_oldest()
        return self.alarmed

    def _insert(self, x: float) -> None:
        self.width += 1.0
        if self.width > 1.0:
            apart = x - self.total / (self.width - 1.0)
            self.variance += (self.width - 1.0) * apart * apart / self.width
        self.total += x
        self.totals[0].append(x)
        self.variances[0].append(0.0)
        level = 0
        while len(self.totals[level]) > _BUCKETS:
            self._merge(level)
            level += 1

    def _merge(self, level: int) -> None:
        """Make one bucket of the two oldest of a size."""
        if level + 1 == len(self.totals):
            self.totals.append([])
            self.variances.append([])
        size = 2.0**level
        totals, variances = self.totals[level], self.variances[level]
        apart = totals[0] / size - totals[1] / size
        self.totals[level + 1].append(totals[0] + totals[1])
        self.variances[level + 1].append(variances[0] + variances[1] + size * 0.5 * apart * apart)
        del totals[:2], variances[:2]

    def _forget_oldest(self) -> None:
        level = len(self.totals) - 1
        size, total, variance = 2.0**level, self.totals[level].pop(0), self.variances[level].pop(0)
        self.width -= size
        self.total -= total
        apart = total / size - self.total / self.width
        self.variance -= variance + size * self.width * apart * apart / (size + self.width)
        if not self.totals[level]:
            self.totals.pop()
            self.variances.pop()

    def _differs(self) -> bool:
        """Return whether two parts of the window have different means."""
        confidence = log(2.0 * log(self.width) / self.delta)
        spread = 2.0 * (self.variance / self.width) * confidence
        old_count = old_total = 0.0
        for level in range(len(self.totals) - 1, -1, -1):
            size = 2.0**level
            for total in self.totals[level]:
                old_count += size
                old_total += total
                new_count = self.width - old_count
                if new_count < self.least_part or old_count < self.least_part:
                    continue
                apart = abs(old_total / old_count - (self.total - old_total) / new_count)
                parts = 1.0 / (old_count - self.least_part + 1.0) + 1.0 / (new_count - self.least_part + 1.0)
                if apart > sqrt(max(parts * spread, 0.0)) + 2.0 / 3.0 * confidence * parts:
                    return True
        return False

    def state(self) -> list[float]:
        """Return what it keeps: the same number of values, whatever the width."""
        state = [float(self.seen), self.width, self.total, self.variance, float(self.alarmed), float(len(self.totals))]
        for level in range(_LEVELS):
            totals = self.totals[level] if level < len(self.totals) else []
            variances = self.variances[level] if level < len(self.totals) else []
            none = [0.0] * (_BUCKETS - len(totals))
            state += [float(len(totals)), *totals, *none, *variances, *none]
        return state

    def restore(self, state: list[float]) -> None:
        """Continue from :meth:`state`."""
        self.seen = int(state[0])
        self.width, self.total, self.variance = state[1:4]
        self.alarmed = state[4] > 0.0
        self.totals, self.variances = [], []
        for level in range(int(state[5])):
            start = 6 + level * (1 + 2 * _BUCKETS)
            count = int(state[start])
            self.totals.append(state[start + 1 : start + 1 + count])
            self.variances.append(state[start + 1 + _BUCKETS : start + 1 + _BUCKETS + count])
