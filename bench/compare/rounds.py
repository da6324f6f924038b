"""Interleaved rounds and what is read off them. A round times every contender once, one after the other; its ratio
compares neighbours in time, so that a machine whose speed drifts does not decide the result."""
import dataclasses
import statistics
import time

# After so many rounds only those are timed on that once came this close to the fastest of the others: one round alone
# could meet a contender in a bad moment.
QUALIFYING = 2
WORTH_REPEATING = 0.75
# Ratios of the rounds further apart than this share of their median: the machine was not quiet.
WIDE_SPREAD = 0.25


class Disagreement(Exception):
    """Two programs were given the same and answer differently: comparing their speed would mean nothing."""


def check_close(what, found, wanted, tolerance):
    """Largest relative difference of two lists of numbers; raises Disagreement above the tolerance and for NaN."""
    if len(found) != len(wanted) or not wanted:
        raise Disagreement(f"{what}: {len(found)} values beside {len(wanted)}")
    worst = 0.0
    for a, b in zip(found, wanted):
        difference = abs(a - b) / max(abs(b), 1e-30)
        worst = max(worst, difference if difference == difference else float("inf"))
    if not worst <= tolerance:
        raise Disagreement(f"{what}: they differ by {worst:.1e}, more than {tolerance:.0e}")
    return worst


@dataclasses.dataclass
class Contender:
    """One program, setting or way of writing it. rate() measures once: work a second."""
    name: str
    rate: object
    ours: bool = False


def rotated(items, by):
    """The same items, starting at another one."""
    return items[by % len(items):] + items[:by % len(items)] if items else items


def take_rounds(contenders, count, say=lambda text: None, failed=None, fail=(), narrow=True):
    """{name: [rate of each round, None where it was not timed]}. The order turns from round to round. A contender whose
    rate() raises one of `fail` leaves the race; failed(name, error) is told. narrow: after QUALIFYING rounds only
    ours and the fastest of the others go on."""
    rates, running = {contender.name: [] for contender in contenders}, list(contenders)
    for number in range(count):
        timed, left = {}, []
        for contender in rotated(running, number):
            begin = time.perf_counter()
            try:
                timed[contender.name] = contender.rate()
            except fail as error:
                left.append(contender)
                if failed:
                    failed(contender.name, error)
                continue
            say(f"round {number + 1}/{count}: {contender.name}: {timed[contender.name]:,.1f} "
                f"({time.perf_counter() - begin:.1f} s)")
        for name, values in rates.items():
            values.append(timed.get(name))
        running = [contender for contender in running if contender not in left]
        if narrow and number + 1 == QUALIFYING:
            running = worth_repeating(running, rates)
    return {name: values for name, values in rates.items() if any(values)}


def worth_repeating(contenders, rates):
    """All of ours, and the others whose best round was near the best of the fastest of them."""
    best = {c.name: max(rate for rate in rates[c.name] if rate is not None) for c in contenders}
    least = WORTH_REPEATING * max((best[c.name] for c in contenders if not c.ours), default=0)
    return [c for c in contenders if c.ours or best[c.name] >= least]


def median(rates):
    found = [rate for rate in rates if rate is not None]
    return statistics.median(found) if found else None


def fastest(rates, names):
    """The one of these with the highest median; only such as were timed in every round, when there are any."""
    complete = [name for name in names if name in rates and None not in rates[name]]
    able = complete or [name for name in names if name in rates]
    return max(able, key=lambda name: median(rates[name]), default=None)


def ratio(mine, theirs):
    """Ratio of the medians, and the least and largest ratio of a round."""
    rounds = sorted(a / b for a, b in zip(mine, theirs) if a and b)
    if not rounds:
        return None
    paired = [(a, b) for a, b in zip(mine, theirs) if a and b]
    return {"median": median([a for a, _ in paired]) / median([b for _, b in paired]), "least": rounds[0],
            "most": rounds[-1], "rounds": len(rounds)}


def spread_is_wide(found):
    return found["most"] - found["least"] > WIDE_SPREAD * found["median"]
