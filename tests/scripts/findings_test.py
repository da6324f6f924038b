"""scripts/findings.py: its statistics, the rules of its verdicts, the page on invented results, welcome or not."""
import itertools
import dataclasses
import json
import math
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import cases
import invented_findings as invented

sys.path.insert(0, str(cases.ROOT / "scripts"))
from findings import claims, figures, page, plan, rules, statistics, tables  # noqa: E402
from findings.results import Branches, Results  # noqa: E402
from findings.statistics import Effect  # noqa: E402

# Admissions to Berkeley in 1973 by department: men admitted, rejected; women admitted, rejected (Bickel et al. 1975).
BERKELEY = [(512, 313, 89, 19), (353, 207, 17, 8), (120, 205, 202, 391), (138, 279, 131, 244), (53, 138, 94, 299),
            (22, 351, 24, 317)]


class Statistics(unittest.TestCase):

    def test_common_odds_ratio(self):
        """What R's mantelhaen.test(UCBAdmissions, correct = FALSE) says."""
        effect = statistics.mantel_haenszel(BERKELEY)
        self.assertAlmostEqual(effect.value, 0.9046968, places=6)
        self.assertAlmostEqual(effect.low, 0.7719074, places=6)
        self.assertAlmostEqual(effect.high, 1.0603298, places=6)
        self.assertAlmostEqual(effect.p, 0.2169, places=4)
        self.assertEqual(effect.n, 4526)

    def test_one_table_without_any_of_one_kind(self):
        effect = statistics.mantel_haenszel([(0, 20, 10, 10)])
        self.assertLess(effect.high, 1)
        self.assertAlmostEqual(effect.value, 0.5 * 10.5 / (20.5 * 10.5))
        self.assertLess(effect.low, effect.value)
        self.assertLess(effect.value, effect.high)
        self.assertIsNone(statistics.mantel_haenszel([(0, 5, 0, 7)]))

    def test_density_matching_undoes_a_difference_of_density(self):
        """Marked latents are the dense ones on both sides, and one side is denser: no difference remains."""
        dense = [(0.01 + i * 1e-6, i % 2 == 0) for i in range(400)] + [(0.001 + i * 1e-6, False)
                                                                       for i in range(100)]
        rare = [(0.01 + i * 1e-6, i % 2 == 0) for i in range(100)] + [(0.001 + i * 1e-6, False) for i in range(400)]
        plain = statistics.mantel_haenszel([(200, 300, 50, 450)])
        self.assertGreater(plain.low, 4)
        matched = statistics.density_matched(dense, rare)
        self.assertLess(matched.low, 1)
        self.assertGreater(matched.high, 1)
        self.assertIsNone(statistics.density_matched([], rare))

    def test_false_discoveries(self):
        self.assertEqual(statistics.adjusted([0.01, None, 0.04, 0.03]), [0.03, None, 0.04, 0.04])

    def test_both_sides(self):
        self.assertAlmostEqual(statistics.both_sides(1 / 1001, 1000), 2 / 1001)
        self.assertAlmostEqual(statistics.both_sides(1.0, 1000), 2 / 1001)  # all are as large: the lowest there is
        self.assertEqual(statistics.both_sides(0.5, 1000), 1.0)

    def test_agreement_beyond_chance(self):
        """Mean and variance of all 24 ways to exchange the second labels."""
        labels = [("a", "a"), ("a", "b"), ("b", "a"), ("c", "c")]
        counts = [
            sum(a == b for (a, _), b in zip(labels, order))
            for order in itertools.permutations([b for _, b in labels])
        ]
        mean = sum(counts) / 24
        sd = math.sqrt(sum((x - mean)**2 for x in counts) / 24)
        effect = statistics.agreement_beyond_chance(labels, [1] * 4)
        self.assertAlmostEqual(effect.value, 2 - mean)
        self.assertAlmostEqual((effect.high - effect.low) / 2 / statistics.Z95, sd)
        twice = statistics.agreement_beyond_chance(labels * 2, [1] * 4 + [2] * 4)
        self.assertAlmostEqual(twice.value, 2 * effect.value)
        self.assertIsNone(statistics.agreement_beyond_chance([("a", "a")] * 3, [1] * 3))
        self.assertIsNone(statistics.agreement_beyond_chance([], []))

    def test_correlation(self):
        effect = statistics.correlation(0.5, 103, 0.01)
        self.assertAlmostEqual(math.atanh(effect.high) - math.atanh(effect.value),
                               1.96 * math.sqrt(1.06 / 100),
                               places=4)
        self.assertIsNone(statistics.correlation(None, 10, 0.1))
        self.assertIsNone(statistics.correlation(1.0, 10, 0.1))

    def test_layers_as_one(self):
        alike = [Effect(0.6, 0.5, 0.7, null=0.5, n=10)] * 4
        effect = statistics.pooled(alike)
        self.assertAlmostEqual(effect.value, 0.6)
        self.assertAlmostEqual(effect.high - effect.low, 0.1)  # 0.2 / sqrt(4)
        self.assertEqual(effect.n, 40)
        self.assertAlmostEqual(effect.p, math.erfc(0.1 / (0.05 / statistics.Z95) / math.sqrt(2)))
        unlike = statistics.pooled([Effect(0.2, 0.19, 0.21), Effect(0.8, 0.79, 0.81)])
        self.assertGreater(unlike.high - unlike.low, 0.5)  # the spread between layers counts
        ratios = statistics.pooled([Effect(2, 1, 4, null=1), Effect(0.5, 0.25, 1, null=1)], logarithm=True)
        self.assertAlmostEqual(ratios.value, 1)
        self.assertIsNone(statistics.pooled([None, Effect(1)]))


def cells(says, k=8):
    return [rules.Cell(f"layer {i}", k, one) for i, one in enumerate(says)]


class Rules(unittest.TestCase):
    good = Effect(0.7, 0.65, 0.75, q=0.001, null=0.5)
    none = Effect(0.5, 0.45, 0.55, q=0.6, null=0.5)
    low = Effect(0.3, 0.25, 0.35, q=0.001, null=0.5)

    def test_cells(self):
        rivals = [self.none] * 3
        judge = rules.judge
        self.assertEqual(judge(self.good, rivals, [], self.none), rules.FOR)
        self.assertEqual(judge(self.low, rivals, [], self.none), rules.AGAINST)
        self.assertEqual(judge(self.none, rivals), rules.NEITHER)
        self.assertEqual(judge(Effect(0.3, 0.25, 0.35, q=0.06, null=0.5)), rules.NEITHER)  # lower, not significant
        self.assertEqual(judge(Effect(0.7, 0.65, 0.75, q=0.06, null=0.5)), rules.NEITHER)  # not significant
        self.assertEqual(judge(Effect(0.7, 0.45, 0.95, q=0.01, null=0.5)), rules.NEITHER)  # interval holds the null
        self.assertEqual(judge(self.good, [Effect(0.71, null=0.5)]), rules.NEITHER)  # a rival is ahead
        self.assertEqual(judge(self.good, rivals, [Effect(0.1, -0.1, 0.3, q=0.001)]), rules.NEITHER)  # not beaten
        self.assertEqual(judge(self.good, rivals, [Effect(0.1, 0.05, 0.3, q=0.2)]), rules.NEITHER)
        self.assertEqual(judge(self.good, rivals, [Effect(0.1, 0.05, 0.3, q=0.01)]), rules.FOR)
        self.assertEqual(judge(self.good, control=self.good), rules.VOID)
        self.assertEqual(judge(self.good, control=self.none), rules.FOR)
        slight = Effect(0.55, 0.53, 0.57, q=0.001, null=0.5)
        above, below = Effect(0.63, 0.6, 0.66, q=0.01, null=0.5), Effect(0.37, 0.34, 0.4, q=0.01, null=0.5)
        for effect, yardstick, says in ((self.good, self.good, rules.VOID), (self.good, slight, rules.FOR),
                                        (self.good, above, rules.VOID), (self.low, below, rules.VOID),
                                        (self.good, self.low, rules.FOR), (self.low, self.low, rules.VOID),
                                        (self.low, self.good, rules.AGAINST), (self.none, self.good,
                                                                               rules.NEITHER)):
            self.assertEqual(judge(effect, rivals, [], yardstick), says)
        for missing in (judge(None), judge(self.good, [None]), judge(self.good, [], [None]), judge(Effect(0.7))):
            self.assertEqual(missing, rules.OPEN)

    def test_verdicts(self):
        most, all_for = [rules.FOR] * 4 + [rules.NEITHER], [rules.FOR] * 5
        self.assertEqual(rules.verdict(cells(most) + cells(all_for, 32)), rules.SUPPORTED)
        self.assertEqual(rules.verdict(cells(most) + cells([rules.NEITHER] * 5, 32)), rules.MIXED)
        self.assertEqual(rules.verdict(cells([rules.AGAINST] * 4 + [rules.FOR])), rules.CONTRADICTED)
        self.assertEqual(rules.verdict(cells([rules.FOR] * 3 + [rules.NEITHER] * 2)), rules.MIXED)
        self.assertEqual(rules.verdict(cells([rules.FOR] * 2 + [rules.NEITHER] * 3)), rules.NOT_SUPPORTED)
        self.assertEqual(rules.verdict(cells([rules.VOID] * 5)), rules.NOT_SUPPORTED)
        self.assertEqual(rules.verdict(cells([rules.OPEN] * 2 + [rules.FOR] * 3)), rules.NOT_MEASURED)
        self.assertEqual(rules.verdict(cells([rules.OPEN] + [rules.FOR] * 4)), rules.SUPPORTED)
        self.assertEqual(rules.verdict([]), rules.NOT_MEASURED)

    def test_several_tests_of_a_claim(self):
        self.assertEqual(rules.together([rules.SUPPORTED, rules.NOT_MEASURED]), rules.SUPPORTED)
        self.assertEqual(rules.together([rules.SUPPORTED, rules.NOT_SUPPORTED]), rules.MIXED)
        self.assertEqual(rules.together([rules.NOT_MEASURED]), rules.NOT_MEASURED)

    def test_the_text_says_what_the_code_does(self):
        self.assertIn(f"q < {rules.LEVEL}", rules.RULES)
        self.assertEqual([rules.enough(n) for n in (1, 2, 3, 4, 5)], [1, 2, 2, 3, 4])
        for word in (rules.FOR, rules.AGAINST, rules.NEITHER, rules.VOID, rules.OPEN, rules.SUPPORTED,
                     rules.CONTRADICTED, rules.MIXED, rules.NOT_SUPPORTED, rules.NOT_MEASURED):
            self.assertIn(f"**{word}**", rules.RULES)


class Page(unittest.TestCase):

    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.settings = plan.Settings(self.top / "branchsae",
                                      self.top / "m.onnx", (self.top / "photos", self.top / "x.tar"),
                                      self.top / "work", (self.top / "photos", ),
                                      ks=(8, 32),
                                      match_ks=(8, 32))

    def look(self, folder, k, whole=None, animals=None, layers=None, **more):
        """Results of one call of `branches`. whole: of branches() for whole layers; animals: {branch: share of
        features}."""
        for tap in self.settings.taps():
            layer, _, branch = tap.partition(".")
            document = (invented.branches(tap, k, animals=(animals or {}).get(branch, 0.2), **more)
                        if branch else invented.branches(tap, k, **(whole or {}), **more))
            if layers is None or layer in layers:
                invented.write(self.settings.work / "results" / folder / tap / "branches.json", document)

    def fill(self, whole=None, animals=None, odds=4.0, p=1e-6, same=60, ks=None, random_pairs=False, **more):
        """Results of all steps, on all images alike."""
        for images, folders in plan.looks(self.settings).items():
            for k, folder in folders.items():
                if k in (ks or folders):
                    self.look(folder, k, whole, animals, **more)
        for k in ks or self.settings.ks:
            invented.write(self.settings.work / f"results/eval-k{k}.json",
                           {"evaluations": [invented.evaluation(tap, k) for tap in self.settings.taps()]})
        for folder in {step for steps in plan.matched(self.settings).values() for step in steps.values()}:
            self.pair(folder, odds, p, same, random_pairs)
        invented.write(self.settings.work / "results/joined/all/match.json",
                       invented.joined(self.settings.pairs(), odds, p, same))
        for run in ("layers", "photos-k8", "photos-k32"):
            invented.training_run(self.settings.work / "runs" / run, {})
        invented.write(self.settings.work / "runs/photos-k32/mixed4c.5x5/eval.json", {
            "fvu": 0.125,
            "dead": 0.5,
            "l0": 31.5
        })

    def pair(self, folder, odds=4.0, p=1e-6, same=60, random_pairs=False, positions=196, **more):
        """Results of one call of `match`."""
        for a, b in self.settings.pairs():
            document = invented.match(a, b, odds, p, same, random_pairs, **more)
            document["about"] |= {"positions": positions, "of_positions": 196}
            invented.write(self.settings.work / "results" / folder / f"{a}.{b}" / "match.json", document)
            share = 0.6 if same > 45 else 0.02 if same < 35 else 0.25
            path = self.settings.work / "results" / folder / f"{a}.{b}" / "match.csv"
            path.write_text(invented.pairs_csv(share))

    def text(self):
        path = self.top / "docs/findings.md"
        page.write(self.settings, Results(self.settings), path)
        for chart in path.parent.glob("findings/*.svg"):
            xml.etree.ElementTree.parse(chart)
            self.assertIn(f"(findings/{chart.name})", path.read_text())
        return path.read_text(encoding="utf-8")

    def verdict(self, text, claim):
        line = next(line for line in text.splitlines() if line.startswith(f"- **{claim}**"))
        return line.rsplit("**", 2)[1]

    def row(self, text, claim, *words):
        """Cells of the one line of the claims' table that begins with all of these words."""
        rows = [line.split(" | ") for line in text.splitlines() if line.startswith(f"| **{claim}** |")]
        found = [row for row in rows if row[1].startswith(words)]
        self.assertEqual(len(found), 1, (claim, words))
        return found[0]

    def test_nothing_is_there(self):
        text = self.text()
        for claim in ("C1", "C4", "C5"):
            self.assertEqual(self.verdict(text, claim), rules.NOT_MEASURED)
        self.assertIn("Not measured.", text)

    def test_everything_speaks_for_the_claims(self):
        self.fill({"prefers": {"animal": "5x5", "colour": "1x1"}}, {"5x5": 0.6})
        text = self.text()
        self.assertEqual(self.verdict(text, "C1"), rules.SUPPORTED)
        self.assertEqual(self.verdict(text, "C5"), rules.SUPPORTED)
        self.assertEqual(self.verdict(text, "C4"), rules.MIXED)  # whole layers for it, the branches' own against it
        self.assertIn("0.70 [0.68, 0.72]", text)
        self.assertIn("commit 123", text)
        self.assertIn("--out docs/findings.md --k 8,32 --match-k 8,32\n", text)
        self.assertIn("| mixed4c | 32 | 0.250 | 3.0 % | 32.0 | 70.0 % / 65.0 % | 0.980 | 0.970 |", text)
        self.assertIn("| mixed4c.5x5 | 32 | 0.125 | 50.0 % | 31.5 |", text)  # trained on the photos alone
        self.assertIn("Every cell of the claims was measured.", text)
        self.assertIn("**supported** (50 cells: 50 for)", text)
        self.assertRegex(text, r"\| mixed4a, mixed4b \| photos \| 32 \| correlation \|.*\| 80 of 100 \| for \|")
        self.assertRegex(text, r"\| mixed4a, mixed4b \| photos \| 32 \| virtual weight \|.*\| – \| for \|")
        self.assertIn("| trained on photos alone | k = 8: 10,240 tokens a tap of 21,000 images;", text)
        self.assertEqual(len(list((self.top / "docs/findings").glob("*.svg"))), 13)

    def test_each_row_has_its_own_results(self):
        """Of photos for, of all images against, and nothing by those that trained on the photos alone."""
        self.fill()
        for k in (8, 32):
            self.look(f"branches-k{k}", k, {"prefers": {"animal": "5x5"}}, {"5x5": 0.6})
        self.look("branches-all-k32", 32, {"against": {"animal": "5x5"}}, {"5x5": 0.02})
        text = self.text()
        for images, verdict, cells in ((plan.PHOTOS, rules.SUPPORTED, "8: 5 / 0 of 5; 32: 5 / 0 of 5"),
                                       (plan.ALL_IMAGES, rules.CONTRADICTED, "32: 0 / 5 of 5"),
                                       (plan.PHOTOS_ALONE, rules.NOT_SUPPORTED, "8: 0 / 0 of 5; 32: 0 / 0 of 5")):
            for test in ("latents of whole layers", "autoencoders of single branches"):
                row = self.row(text, "C1", f"{test}, {images}:")
                self.assertEqual(row[-2:], [cells, f"**{verdict}** |"])
        self.assertEqual(self.verdict(text, "C1"), rules.MIXED)
        rows = [line.split(" | ") for line in text.split("## C1")[1].split("## C4")[0].splitlines()]
        self.assertIn(
            ["| mixed4e", "32", "0.70 [0.68, 0.72] for", "0.30 [0.28, 0.32] against", "0.50 [0.48, 0.52] neither"],
            [row[:5] for row in rows])
        self.assertIn(["| mixed4e", "8", "0.70 [0.68, 0.72] for", "–", "0.50 [0.48, 0.52] neither"],
                      [row[:5] for row in rows])

    def test_controls_stand_beside_the_claims(self):
        self.fill({"prefers": {"animal": "5x5"}, "random_passes": True}, {"5x5": 0.6})
        self.look("branches-k8", 8)
        text = self.text()
        self.assertIn("random dictionary: 0.70 [0.69, 0.71]; single channels: 0.50 [0.49, 0.51]; 1x1: 0.50 [",
                      self.row(text, "C1", f"latents of whole layers, {plan.PHOTOS}:")[4])
        self.assertRegex(
            self.row(text, "C1", f"autoencoders of single branches, {plan.PHOTOS}:")[4],
            r"^against 1x1: .*; against 3x3: .*; against pool: ")
        self.assertEqual(
            self.row(text, "C5", f"pairs of latents of neighbouring layers, {plan.PHOTOS}, each other's best by correlation")[4],
            "latents: 240 pairs of one branch, 160 when exchanged; "
            "random dictionary: 160 pairs of one branch, 160 when exchanged")

    def test_what_was_not_measured_is_said(self):
        self.settings = dataclasses.replace(self.settings, full_concepts=("animal", ))
        self.look("branches-k32", 32, {"prefers": {"animal": "5x5"}}, {"5x5": 0.6})
        self.look("branches-all-k32", 32, layers=("mixed4a", "mixed4c"))
        text = self.text()
        said = text.split("### Not measured")[1].split("##")[0]
        for line in (
                "C1, latents of whole layers, photos: share of the decoder in 5x5, those of animal against the "
                "others: k = 8\n", "photos and shards: share of animal latents in 5x5 against the other three, "
                "matched by firing density: k = 32 (mixed4b; mixed4d; mixed4e)\n",
                "C5, the same pairs, photos: both most enriched in 5x5?: k = 8, k = 32\n",
                "C5, the same pairs, photos and shards: both most enriched in 5x5?: k = 32\n"):
            self.assertIn(line, said)
        self.assertIn("colour (C4) of the shards", said)
        self.assertIn("**supported** (14 of 50 cells measured: 10 for, 4 neither)", text)
        self.assertIn("; the small images were analysed at the largest k only;", text.replace("\n", " "))
        self.assertNotIn("saw each of them many times", text.replace("\n", " "))

    def test_whole_layers_of_all_images_only(self):
        self.assertIn("; the small images trained but were not analysed;", self.text().replace("\n", " "))
        for layer in self.settings.layers:
            invented.write(self.settings.work / f"results/branches-all-k32/{layer}/branches.json",
                           invented.branches(layer, 32, {"animal": "5x5"}))
        text = self.text()
        self.assertEqual(
            self.row(text, "C1", f"latents of whole layers, {plan.ALL_IMAGES}:")[-1], "**supported** |")
        self.assertEqual(
            self.row(text, "C1", f"autoencoders of single branches, {plan.ALL_IMAGES}:")[-1], "**not measured** |")
        self.assertIn("; of the small images only latents of whole layers were analysed,", text.replace("\n", " "))

    def test_colour_of_all_images(self):
        self.settings = dataclasses.replace(self.settings, full_concepts=("animal", "colour"))
        self.fill({"prefers": {"colour": "1x1"}})
        text = self.text()
        self.assertIn("32: 5 / 0 of 5", self.row(text, "C4", f"latents of whole layers, {plan.ALL_IMAGES}:"))
        self.assertNotIn("colour (C4) of the shards", text)
        self.assertIn("--full-concepts animal,colour", text)

    def test_pairs_of_all_images_are_their_own(self):
        """Of photos for the claim, of all images nothing: another row, chart and table, by few positions."""
        self.fill({"prefers": {"animal": "5x5"}})
        self.pair("match-all-k32", odds=1.0, p=0.7, same=40, positions=9)
        text = self.text()
        for way in ("pairs of latents of neighbouring layers, {}, each other's best by correlation",
                    "pairs of latents of neighbouring layers, {}, each other's best by class profile",
                    "the same pairs, {}: both most enriched"):
            self.assertEqual(self.row(text, "C5", way.format(plan.PHOTOS))[-1], "**supported** |")
            self.assertEqual(self.row(text, "C5", way.format(plan.ALL_IMAGES))[-1], "**not supported** |")
        self.assertEqual(self.verdict(text, "C5"), rules.MIXED)
        self.assertIn("Of photos and shards 9 positions of 196 are read", text)
        self.assertIn("| mixed4a, mixed4b | photos and shards | 32 | class profile | 100 | 1.0 [", text)
        self.assertIn("k = 32, photos and shards", (self.top / "docs/findings/c5-pairs.svg").read_text())

    def test_photos_only(self):
        """Nothing but photos trains: there is no second training and nothing else to look at."""
        self.settings = dataclasses.replace(self.settings, images=self.settings.photos)
        self.fill()
        text = self.text()
        self.assertNotIn(plan.PHOTOS_ALONE, text)
        self.assertNotIn("### Does it depend on the images?", text)
        self.assertNotIn("Not asked at all", text)
        self.assertFalse([step.name for step in plan.all_steps(self.settings) if "photos" in step.name])

    def test_the_opposite_of_the_claims(self):
        self.fill({"against": {"animal": "5x5", "colour": "1x1"}}, {"5x5": 0.02, "1x1": 0.02}, odds=0.2, same=20)
        text = self.text()
        for claim in ("C1", "C4", "C5"):
            self.assertEqual(self.verdict(text, claim), rules.CONTRADICTED, claim)

    def test_nothing_stands_out(self):
        self.fill(odds=1.1, p=0.5, same=41)
        text = self.text()
        for claim in ("C1", "C4", "C5"):
            self.assertEqual(self.verdict(text, claim), rules.NOT_SUPPORTED, claim)

    def test_another_branch_is_ahead(self):
        self.fill({"prefers": {"animal": "3x3", "colour": "pool"}}, {"5x5": 0.5, "3x3": 0.8})
        self.assertEqual(self.verdict(self.text(), "C1"), rules.NOT_SUPPORTED)

    def test_every_rival_has_to_be_beaten(self):
        """Two ways to be beaten by one branch of three: a larger effect of its own, or a lead that is no lead."""
        for branch, name, changed in (("3x3", "auroc", {
                "value": 0.75,
                "low": 0.71,
                "high": 0.79
        }), ("5x5", "5x5 against pool", {
                "p": 0.4
        })):
            self.fill()
            for path in self.settings.work.glob("results/branches-k*/mixed4?/branches.json"):
                document = invented.branches(path.parent.name, 8, {"animal": "5x5"})
                for test in document["tests"]:
                    if [test[of] for of in ("concept", "branch", "subject", "test")
                        ] == ["animal", branch, "latents", name]:
                        test |= changed
                path.write_text(json.dumps(document))
            row = self.row(self.text(), "C1", f"latents of whole layers, {plan.PHOTOS}:")
            self.assertEqual(row[2], "AUROC 0.700 [0.691, 0.709]")
            self.assertEqual(row[-2], "8: 0 / 0 of 5; 32: 0 / 0 of 5", name)

    def test_a_random_dictionary_passes_as_well(self):
        self.fill({"prefers": {"animal": "5x5"}, "random_passes": True})
        text = self.text()
        self.assertNotIn("| for |", text.split("## C1")[1].split("### Autoencoders")[0])
        self.assertIn("| void |", text)

    def test_pairs_alone_are_not_enough(self):
        """The odds ratio is high, but no more pairs share a branch than after exchanging branches."""
        self.fill(odds=5.0, same=40)
        tests = [line for line in self.text().splitlines() if line.startswith("| **C5**")]
        self.assertEqual([line.rsplit("**", 2)[1] for line in tests], [rules.NOT_SUPPORTED] * 7 + [rules.SUPPORTED, rules.NOT_SUPPORTED, rules.SUPPORTED])
        self.assertEqual(self.verdict(self.text(), "C5"), rules.MIXED)

    def test_pairs_by_shuffled_channels(self):
        """They void what they show as well, of virtual weights alone; a clearly larger effect stands."""
        way = "pairs of latents of neighbouring layers, photos, each other's best by {}"
        self.fill()
        for shuffled, odds, says in (((4.0, 1e-6, 60), 4.0, rules.NOT_SUPPORTED), ((1.5, 1e-6, 60), 12.0, rules.SUPPORTED),
                                     ((4.0, 0.2, 60), 4.0, rules.SUPPORTED)):
            for k in (8, 32):
                self.pair(f"match-k{k}", odds=odds, shuffled=shuffled)
            text = self.text()
            self.assertEqual(self.row(text, "C5", way.format("virtual weight"))[-1], f"**{says}** |")
            self.assertEqual(self.row(text, "C5", way.format("correlation"))[-1], "**supported** |")
        self.assertIn("| mixed4a, mixed4b | 8 | 100 | 4.0 [2.4, 6.7] | 60 / 40.0 | 100 | 4.0 [2.4, 6.7] | 60 / 40.0 | for |", text)
        self.assertIn("; shuffled channels: 240 pairs of one branch, 160 when exchanged",
                      self.row(text, "C5", way.format("virtual weight"))[4])

    def test_no_latent_of_the_branch(self):
        """A table with an empty margin has an odds ratio only by the halves added to it: nothing was measured."""
        entry = invented.agreement(5.0, 1.0, 60)[2] | {"in_branch": [[0, 0], [3, 97]]}
        self.assertIsNone(claims.odds_of(entry))
        self.assertIsNotNone(claims.odds_of(entry | {"in_branch": [[0, 1], [3, 96]]}))

    def test_pairs_of_one_branch_beyond_exchange(self):
        entry = {"same_branch": 60, "expected_same": 45.5, "permutation_p": 0.01, "pairs": 100}
        self.assertEqual(claims.excess(entry), Effect(14.5, 14.5, 14.5, 0.01, n=100))
        self.assertIsNone(claims.excess(None))

    def test_pairs_of_a_random_dictionary_share_branches_too(self):
        self.fill(random_pairs=True)
        tests = [line for line in self.text().splitlines() if line.startswith("| **C5**")]
        self.assertEqual([line.rsplit("**", 2)[1] for line in tests[:6]],
                         [rules.NOT_SUPPORTED] * 5 + [rules.SUPPORTED])

    def test_copies_of_a_neuron_count_once(self):
        copies = [{
            "id": i,
            "live": True,
            "density": 0.1 * i,
            "neuron": 3,
            "neuron_cosine": 0.95,
            "concepts": {
                "animal": i == 2
            }
        } for i in range(3)]
        other = {
            "id": 9,
            "live": True,
            "density": 0.5,
            "neuron": 3,
            "neuron_cosine": 0.5,
            "concepts": {
                "animal": True
            }
        }
        dead = {"id": 4, "live": False, "density": 0.0, "concepts": {"animal": True}}
        found = Branches({"latents": [*copies, other, dead], "concepts": {"animal": {}}})
        self.assertEqual(sorted(found.marked("animal")), [(0.2, True), (0.5, True)])
        self.assertIsNone(found.marked("colour"))

    def test_a_comparison_that_was_written_the_other_way_round(self):
        """The lead of a over b is that of b over a with its sign and the ends of its interval exchanged."""
        entry = invented.test("animal", "3x3", "latents", "3x3 against 5x5", 0.2, 0.0002, half=0.0)
        found = Branches({"tests": [entry | {"low": 0.1, "high": 0.4}]})
        lead = found.direct("animal", "5x5", "3x3")
        self.assertEqual((lead.value, lead.low, lead.high), (-0.2, -0.4, -0.1))
        self.assertAlmostEqual(lead.p, 0.0004, delta=1e-6)
        self.assertEqual(found.direct("animal", "3x3", "5x5").low, 0.1)
        self.assertIsNone(found.direct("animal", "5x5", "1x1"))

    def test_q_is_over_all_that_a_row_names(self):
        """Benjamini and Hochberg over the layers, k and branches, or rivals; over the 8 pairs of layers and k."""
        self.fill({"prefers": {"animal": "5x5"}}, {"5x5": 0.25})
        invented.write(self.settings.work / "results/match-k32/mixed4a.mixed4b/match.json",
                       invented.match("mixed4a", "mixed4b", p=0.04))
        results = Results(self.settings)
        question = claims.Question("C1", "", "animal", "5x5", plan.looks(self.settings)[plan.PHOTOS], "photos")
        whole, own = claims.whole_layers(results, question), claims.own_autoencoders(results, question)
        pairs = claims.kept_branches(results)[0].test
        for effects, count in ((whole.effects, 40), (whole.direct, 30), (whole.control, 10), (own.odds, 40), ({
                cell:
                cell.effect
                for cell in pairs.cells
        }, 8)):
            ps, qs = [one.p for one in effects.values()], [one.q for one in effects.values()]
            self.assertEqual(len(ps), count)
            self.assertEqual(qs, statistics.adjusted(ps))
        self.assertEqual([cell.effect for cell in own.test.cells][:2],
                         [own.odds[8, layer, ("1x1", "3x3", "pool")] for layer in ("mixed4a", "mixed4b")])
        self.assertNotEqual([cell.effect.q for cell in whole.test.cells],
                            [cell.effect.p for cell in whole.test.cells])

    def test_one_k_is_missing(self):
        self.fill({"prefers": {"animal": "5x5"}}, {"5x5": 0.6}, ks=(32, ))
        text = self.text()
        self.assertEqual(self.verdict(text, "C1"), rules.SUPPORTED)
        self.assertIn("8: –", text)

    def test_a_result_that_is_cut_off(self):
        self.fill({"prefers": {"animal": "5x5"}}, {"5x5": 0.6})
        for layer in ("mixed4a", "mixed4b"):
            for k in self.settings.ks:
                (self.settings.work / f"results/branches-k{k}" / layer / "branches.json").write_text('{"tests": [')
        text = self.text()
        lines = [line for line in text.splitlines() if "latents of whole layers, photos" in line]
        line = next(line for line in lines if "**C1**" in line)
        self.assertIn("32: 3 / 0 of 3", line)
        self.assertIn(rules.NOT_MEASURED, line)
        self.assertEqual(self.verdict(text, "C1"), rules.SUPPORTED)  # by the branches' own autoencoders alone

    def test_numbers_that_are_none(self):
        self.fill({"prefers": {"animal": "5x5"}}, {"5x5": 0.6})
        path = self.settings.work / "results/branches-k32/mixed4c/branches.json"
        document = json.loads(path.read_text())
        for test in document["tests"]:
            test["value"] = test["low"] = test["high"] = None
        document["neuron_share"] = None
        path.write_text(json.dumps(document))
        self.assertIn("| open |", self.text())

    def test_results_that_are_about_neurons(self):
        self.fill(neuron_share=0.8)
        self.assertIn("mixed4a at k = 32", self.text().split("## Latents or neurons")[1])


class Plan(unittest.TestCase):

    def setUp(self):
        root = pathlib.Path("/")
        self.settings = plan.Settings(root / "branchsae", root / "m.onnx", (root / "photos", root / "x.tar"),
                                      root / "somewhere", (root / "photos", ))
        self.steps = {step.name: step.arguments for step in plan.all_steps(self.settings)}

    def option(self, step, flag):
        words = self.steps[step]
        return words[words.index(flag) + 1]

    def test_what_the_page_gains_most_by_comes_first(self):
        names = list(self.steps)
        first = ["train-layers", "branches-k32", "eval-k32", "train-photos-k32", "branches-photos-k32"]
        self.assertEqual(names[:5], first)
        self.assertEqual(names[-3:], ["branches-all-k32", "branches-all-k32-single", "match-all-k32"])
        self.assertLess(names.index("train-second"), names.index("seeds-k32"))
        self.assertLess(names.index("train-joined"), names.index("joined"))

    def test_all_images_layers_first(self):
        steps = ("branches-all-k32", "branches-all-k32-single")
        taps = [self.option(step, "--tap").split(",") for step in steps]
        self.assertEqual(taps[0], list(self.settings.layers))
        self.assertEqual(sorted(taps[0] + taps[1]), sorted(self.settings.taps()))
        for step in steps:
            self.assertEqual(self.option(step, "--images"), "/photos,/x.tar")
            self.assertEqual(self.option(step, "--out"), "/somewhere/results/branches-all-k32")
            self.assertEqual(self.option(step, "--concepts"), "animal,dog,bird,colour")

    def test_training_on_the_photos_alone(self):
        """Images and k apart it is the other training."""
        train = self.steps["train-photos-k8"]
        self.assertEqual(train[2:4], ("/photos", "--tap"))
        for flag in ("--tap", "--tokens", "--positions-per-image", "--seed", "--batch", "--holdout"):
            self.assertEqual(self.option("train-photos-k8", flag), self.option("train-layers", flag))
        self.assertEqual(self.option("train-photos-k8", "--k"), "8")
        look = self.steps["branches-photos-k8"]
        self.assertEqual(look[:2], ("branches", self.option("train-photos-k8", "--out")))
        self.assertEqual(self.option("branches-photos-k8", "--images"), "/photos")

    def test_layers_are_matched_over_all_images_by_few_positions(self):
        self.assertEqual(self.option("match-all-k32", "--images"), "/photos,/x.tar")
        self.assertEqual(self.option("match-all-k32", "--positions"), "9")
        self.assertEqual(self.option("match-all-k32", "--tap-pairs"), self.option("match-k32", "--tap-pairs"))
        self.assertEqual(self.option("match-k32", "--images"), "/photos")
        self.assertNotIn("--positions", self.steps["match-k32"])

    def test_the_second_seed_is_that_of_the_largest_k(self):
        self.assertEqual((self.option("train-second", "--k"), self.option("train-second", "--seed")), ("32", "1"))
        self.assertEqual(self.steps["seeds-k32"][1:3],
                         ("/somewhere/runs/layers/sweep/k=32", self.option("train-second", "--out")))


class Tables(unittest.TestCase):

    def test_figures(self):
        for value, text in ((0.01234, "0.0123"), (1.5, "1.50"), (12345, "12,345"), (0.0, "0"), (None, "–"),
                            (float("nan"), "–"), (1e-7, "1.0e-07"), (math.inf, "inf"), (0.999, "0.999")):
            self.assertEqual(tables.figure(value), text)
        self.assertEqual(tables.probability(0), "< 1e-300")
        self.assertIn("a\\|b", tables.table(("x", ), [("a|b", )]))

    def test_charts_of_one_value_and_of_none(self):
        panels = [("k = 8", [("mixed4a", {"5x5": Effect(2.0, 2.0, 2.0, null=1)})])]
        xml.etree.ElementTree.fromstring(figures.forest("a < b", "ratio", 1.0, panels, logarithm=True))
        self.assertIsNone(figures.forest("none", "ratio", 1.0, [("k", [("row", {"5x5": None})])]))
        drawn = figures.forest("one", "ratio", 1.0, [("k = 4", [("mixed4a", {"5x5": None})]), *panels])
        self.assertNotIn("k = 4", drawn)
        self.assertIn("k = 8", drawn)


if __name__ == "__main__":
    cases.run()
