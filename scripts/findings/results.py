"""What the program wrote, by step, layer and branch. A file or a field that is missing is None, never an error: the
page then says that it was not measured."""
import csv
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


def once_a_neuron(latents, limit=0.9):
    """Of the latents that are one channel (cosine above the limit) the one that fires most for each channel: the
    others are copies, and copies are no further observations."""
    kept, of_neuron = [], {}
    for latent in latents:
        if not latent.get("live") or (latent.get("neuron_cosine") or 0) <= limit:
            kept.append(latent)
            continue
        best = of_neuron.setdefault(latent.get("neuron"), latent)
        if (latent.get("density") or 0) > (best.get("density") or 0):
            of_neuron[latent["neuron"]] = latent
    return kept + list(of_neuron.values())


class Branches:
    """One tap's branches.json. Of its latents only what the page needs is kept: the files are large."""

    def __init__(self, document):
        self.document = {name: value for name, value in document.items() if name not in ("latents", "tests")}
        self.live = [(latent.get("density")
                      or 0.0, {name
                               for name, is_one in (latent.get("concepts") or {}).items() if is_one})
                     for latent in once_a_neuron(document.get("latents") or []) if latent.get("live")]
        self.enriched = {latent.get("id"): latent.get("most_enriched") for latent in document.get("latents") or []}
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
        """[(density, whether it is a feature of the concept)] of the live latents, a channel's copies counted once;
        None without this concept."""
        if not self.live or concept not in self.concepts():
            return None
        return [(density, concept in concepts) for density, concepts in self.live]


def without_pairs(document):
    """match.json lists thousands of pairs, which the page does not need."""
    for entry in (document or {}).get("similarities") or []:
        entry.pop("pairs", None)
    return document


class Results:
    """Reads results when they are asked for, each file once."""

    def __init__(self, settings):
        self.settings = settings
        self.read = {}

    def json(self, path):
        if path not in self.read:
            self.read[path] = without_pairs(runner.read_json(path))
        return self.read[path]

    def branches(self, step, tap):
        if step is None:
            return None
        path = plan.out_folder(self.settings, step) / tap / "branches.json"
        if path not in self.read:
            document = runner.read_json(path)
            self.read[path] = Branches(document) if document else None
        return self.read[path]

    def matching(self, step, a, b, similarity):
        """The entry of match.json for two taps and one similarity, by mutual best; None when there is none."""
        folder = plan.out_folder(self.settings, step)
        for path in sorted(folder.rglob("match*.json")) if folder.is_dir() else []:
            document = self.json(path) or {}
            about = document.get("about") or {}
            if ((about.get("a") or {}).get("tap"), (about.get("b") or {}).get("tap")) != (a, b):
                continue
            for entry in document.get("similarities") or []:
                if (entry.get("name"), entry.get("pairing")) == (similarity, "mutual best"):
                    return entry
        return None

    def matching_about(self, step, a, b):
        """What match.json says of itself for two taps; {} when there is none."""
        folder = plan.out_folder(self.settings, step)
        for path in sorted(folder.rglob("match*.json")) if folder.is_dir() else []:
            about = (self.json(path) or {}).get("about") or {}
            if ((about.get("a") or {}).get("tap"), (about.get("b") or {}).get("tap")) == (a, b):
                return about
        return {}

    def pairs(self, step, a, b, similarity):
        """[(latent of a, latent of b, density of b's)] of one similarity, by mutual best, from match.json's CSV
        twin; [] when there is none."""
        folder = plan.out_folder(self.settings, step)
        for path in sorted(folder.rglob("match*.csv")) if folder.is_dir() else []:
            about = (self.json(path.with_suffix(".json")) or {}).get("about") or {}
            if ((about.get("a") or {}).get("tap"), (about.get("b") or {}).get("tap")) != (a, b):
                continue
            with path.open(encoding="utf-8", newline="") as lines:
                return [(int(line["a"]), int(line["b"]), float(line["density_b"])) for line in csv.DictReader(lines)
                        if (line["similarity"], line["pairing"]) == (similarity, "mutual best")]
        return []

    def joined(self, a, b):
        """The same for features of the joined layers that live in both of two layers."""
        folder = plan.out_folder(self.settings, "joined")
        for path in sorted(folder.rglob("match*.json")) if folder.is_dir() else []:
            for entry in (self.json(path) or {}).get("between") or []:
                if (entry.get("a"), entry.get("b")) == (a, b):
                    return entry
        return None

    def evaluation(self, k, tap):
        """What eval says of one tap at one k: its entry in the document that it printed; {} when there is none."""
        document = self.json(self.settings.work / "results" / f"eval-k{k}.json") or {}
        for entry in document.get("evaluations") or []:
            if entry.get("tap") == tap and entry.get("k", k) == k:
                return entry
        return self.json(plan.member(self.settings, "layers", k) / tap / "eval.json") or {}

    def own_evaluation(self, run, tap):
        """What a training run wrote of itself; {} when there is nothing."""
        return self.json(plan.run_folder(self.settings, run) / tap / "eval.json") or {}

    def run(self, name="layers"):
        return self.json(plan.run_folder(self.settings, name) / "run.json") or {}
