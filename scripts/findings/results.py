"""What the program wrote, by step, layer and branch. A file or a field that is missing is None, never an error: the
page then says that it was not measured."""
import dataclasses

from findings import plan, runner, statistics
from findings.statistics import Effect

NULLS = {"auroc": 0.5, "fisher": 1.0, "odds ratio": 1.0}  # what no effect is; 0 for all others
SUBJECTS = ("latents", "neurons", "random dictionary")


def number(value):
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def as_effect(test):
    """An entry of branches.json's `tests`, or None. Its p is one-sided (as large or larger); here both sides count,
    since a claim may also be wrong the other way round. q is left open: the claim decides what is corrected together.
    """
    if not test or number(test.get("value")) is None:
        return None
    p, rounds = number(test.get("p")), number(test.get("rounds"))
    if p is not None and rounds:
        p = statistics.both_sides(p, rounds)
    return Effect(test["value"], number(test.get("low")), number(test.get("high")), p, None, number(test.get("n")),
                  NULLS.get(test.get("test"), 0.0))


class Branches:
    """One tap's branches.json. Of its latents only what the page needs is kept: the files are large."""

    def __init__(self, document):
        self.document = {name: value for name, value in document.items() if name not in ("latents", "tests")}
        self.live = [(latent.get("density") or 0.0,
                      {name for name, is_one in (latent.get("concepts") or {}).items() if is_one})
                     for latent in document.get("latents") or [] if latent.get("live")]
        self.tests = {}
        for test in document.get("tests") or []:
            key = tuple(test.get(name) for name in ("concept", "branch", "subject", "test"))
            self.tests.setdefault(key, test)

    def test(self, concept, branch, subject="latents", name="auroc"):
        return as_effect(self.tests.get((concept, branch, subject, name)))

    def direct(self, concept, branch, rival, subject="latents"):
        """The branch's advantage over a rival: above 0 when it is ahead. None when they were not compared."""
        forward = self.test(concept, branch, subject, f"{branch} against {rival}")
        other = self.test(concept, rival, subject, f"{rival} against {branch}")
        if forward or other is None or other.low is None or other.high is None:
            return forward
        return dataclasses.replace(other, value=-other.value, low=-other.high, high=-other.low)

    def concepts(self):
        return list(self.document.get("concepts") or {})

    def null(self, branch, name):
        return number(((self.document.get("nulls") or {}).get(branch) or {}).get(name))

    def neuron_share(self):
        return number(self.document.get("neuron_share"))

    def about(self):
        return self.document.get("about") or {}

    def marked(self, concept):
        """[(density, whether it is a feature of the concept)] of the live latents; None without this concept."""
        if not self.live or concept not in self.concepts():
            return None
        return [(density, concept in concepts) for density, concepts in self.live]


class Results:
    """Reads results when they are asked for, each file once."""
    def __init__(self, settings):
        self.settings = settings
        self.read = {}

    def json(self, path):
        if path not in self.read:
            self.read[path] = runner.read_json(path)
        return self.read[path]

    def branches(self, step, tap):
        path = plan.out_folder(self.settings, step) / tap / "branches.json"
        if path not in self.read:
            document = runner.read_json(path)
            self.read[path] = Branches(document) if document else None
        return self.read[path]

    def match(self, step, a, b):
        """match.json's document of one pair of taps, or None."""
        folder = plan.out_folder(self.settings, step)
        for path in sorted(folder.rglob("match*.json")) if folder.is_dir() else []:
            document = self.json(path) or {}
            about = document.get("about") or {}
            if (about.get("a") or {}).get("tap") == a and (about.get("b") or {}).get("tap") == b:
                return document
        return None

    def evaluation(self, k, tap):
        """What eval says of one tap at one k: its entry in the document that it printed; {} when there is none."""
        document = self.json(self.settings.work / "results" / f"eval-k{k}.json") or {}
        for entry in document.get("evaluations") or []:
            if entry.get("tap") == tap and entry.get("k", k) == k:
                return entry
        return self.json(plan.member(self.settings, "layers", k) / tap / "eval.json") or {}

    def run(self, name="layers"):
        return self.json(plan.run_folder(self.settings, name) / "run.json") or {}
