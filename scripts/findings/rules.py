"""How a result becomes a verdict. The rules were fixed before the results were known; the page prints RULES, and a
test holds the two to each other."""
import dataclasses

LEVEL = 0.05
MOST = 4  # layers of five, or 3 pairs of layers of four: four fifths, rounded down

RULES = f"""\
Every claim is asked at every layer and every k ("a cell"). A cell speaks

- **for** the claim when the effect's 95 % interval lies wholly on the claim's side of no effect, q < {LEVEL}, *and*
  the branch that is claimed beats each of the three others: its effect is the largest, and every direct comparison
  with another branch lies on the claim's side too, with q < {LEVEL};
- **against** it when the interval lies wholly on the other side and q < {LEVEL};
- else for **neither**. It is **void** when directions that nobody learned show as much: a random dictionary has an
  effect on the same side (q < {LEVEL}) and the intervals overlap. It is **open** where something was not measured.

C5 names no branch; there the second condition is that more pairs share a branch, of the four, than when branches are
exchanged among latents of equal density (q < {LEVEL}), and a cell is void when pairs keep the branches of a random
dictionary (q < {LEVEL}), or, of virtual weights, when pairs by shuffled channels show as much.

At one k the claim holds when at least four fifths of the layers (rounded down, and more than half) speak for it, and
is contradicted when as many speak against it. Over the k's that were measured it is

- **supported** when it holds at every k, **contradicted** when it is contradicted at every k;
- **mixed** when it holds or is contradicted at some k, or when at some k most layers speak for it, or most against;
- **not supported** otherwise; **not measured** when no k has enough layers measured.

A claim that is tested in several ways gets the verdict on which they all agree, else "mixed".

These rules were fixed before any result on this page was known. A trial with 100 photos had changed them in three
places: at first any effect of a random dictionary made a cell void, but directions that read more from a branch
follow what the branch follows, so that now a feature has to exceed them; C5 got the two tests that do not ask
which branch has the largest share; and "at least one" layer became "more than half" (of 4 or 5 layers the same).

What was added after a first page was known, on 2026-11-30, is more of the same tests, by the same rules: whole layers
over all images, which had been left out for their time; the training on the photos alone, since on that first page most
of what the autoencoders had seen were enlarged small images, while one autoencoder of mixed4c trained on the photos
alone had put animals into 5x5; and C5 at k = 4 and 16, where it had been asked at 8 and 32. On 2026-12-01 C5 over all
images was added, after that page had C5 on the photos at k = 32; and C4 over all images and C5 by virtual weights, after
pages with C4 on the photos and with C5 by the two other similarities. A first run of virtual weights had spoken for C5
before their control, pairs by shuffled channels, was there.
"""

FOR, AGAINST, NEITHER, VOID, OPEN = "for", "against", "neither", "void", "open"
SUPPORTED, CONTRADICTED, MIXED = "supported", "contradicted", "mixed"
NOT_SUPPORTED, NOT_MEASURED = "not supported", "not measured"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One layer (or pair of layers) at one k: the effect, and what it says of the claim."""
    where: str
    k: int
    says: str
    effect: object = None  # Effect, None when it was not measured


def passes(effect):
    return effect.above() and effect.significant(LEVEL)


def shows_as_much(yardstick, effect):
    """Whether what nobody learned has an effect on the same side that the learned one's does not clearly exceed."""
    if yardstick is None or not yardstick.significant(LEVEL):
        return False
    if effect.above():
        return yardstick.above() and effect.low <= yardstick.high
    return effect.below() and yardstick.below() and effect.high >= yardstick.low


def judge(effect, rivals=(), direct=(), yardstick=None, control=None):
    """What a cell says. rivals: the other branches' effects on the same scale; direct: comparisons of the claimed
    branch with each other one, above their null when the claimed one is ahead; yardstick: the same effect of a random
    dictionary; control: what must not pass."""
    if effect is None or any(rival is None for rival in rivals) or any(one is None for one in direct):
        return OPEN
    if effect.low is None or effect.high is None or effect.q is None:
        return OPEN
    if shows_as_much(yardstick, effect) or (control is not None and passes(control)):
        return VOID
    if passes(effect):
        largest = all(effect.value > rival.value for rival in rivals)
        return FOR if largest and all(passes(one) for one in direct) else NEITHER
    return AGAINST if effect.below() and effect.significant(LEVEL) else NEITHER


def enough(cells):
    """Four fifths of the layers, rounded down, and more than half."""
    return max(cells // 2 + 1, cells * MOST // 5)


def at_one_k(says):
    """FOR, AGAINST, "most for", "most against", NEITHER or OPEN for the layers' answers at one k."""
    measured = [one for one in says if one != OPEN]
    if len(measured) < enough(len(says)):
        return OPEN
    for side in (FOR, AGAINST):
        if measured.count(side) >= enough(len(says)):
            return side
    for side in (FOR, AGAINST):
        if 2 * measured.count(side) > len(says):
            return f"most {side}"
    return NEITHER


def verdict(cells):
    """Over all cells of one test of a claim."""
    ks = sorted({cell.k for cell in cells})
    answers = [at_one_k([cell.says for cell in cells if cell.k == k]) for k in ks]
    answers = [one for one in answers if one != OPEN]
    if not answers:
        return NOT_MEASURED
    if all(one == FOR for one in answers):
        return SUPPORTED
    if all(one == AGAINST for one in answers):
        return CONTRADICTED
    return MIXED if any(one != NEITHER for one in answers) else NOT_SUPPORTED


def together(verdicts):
    """Of the tests of one claim."""
    measured = {one for one in verdicts if one != NOT_MEASURED}
    if not measured:
        return NOT_MEASURED
    return measured.pop() if len(measured) == 1 else MIXED
