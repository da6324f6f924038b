"""Invented results for scripts/findings.py: what `branches`, `match`, `eval` and `train` would have written."""
import json
import pathlib
import random

BRANCHES = ("1x1", "3x3", "5x5", "pool")
SLIGHT = 0.02  # half an interval


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test(concept, branch, subject, name, value, p, half=SLIGHT):
    """An entry of branches.json's tests; p is one-sided, as the program's."""
    return {
        "concept": concept,
        "branch": branch,
        "subject": subject,
        "test": name,
        "effect": name,
        "value": value,
        "low": value - half,
        "high": value + half,
        "n": 500,
        "positives": 100,
        "p": p,
        "q": p,
        "correction": "Benjamini-Hochberg",
        "rounds": 10000
    }


def branches(tap, k, prefers=None, against=None, random_passes=False, animals=0.2, neuron_share=0.1, seed=1):
    """branches.json. `prefers`: {concept: branch} whose share is higher for its latents; `against`: the reverse;
    animals: share of the live latents that are features of animals, and of colour."""
    draw = random.Random(f"{tap} {k} {seed}")
    tests = []
    for concept in ("animal", "colour"):
        for branch in BRANCHES:
            ahead, behind = (prefers or {}).get(concept) == branch, (against or {}).get(concept) == branch
            value, p = (0.7, 0.0002) if ahead else (0.3, 0.9999) if behind else (0.5, 0.5)
            tests.append(test(concept, branch, "latents", "auroc", value, p))
            tests.append(test(concept, branch, "neurons", "auroc", 0.5, 0.5))
            passed = random_passes and ahead
            tests.append(
                test(concept, branch, "random dictionary", "auroc", 0.7 if passed else 0.5,
                     0.0002 if passed else 0.5))
            for rival in BRANCHES:
                if rival != branch:
                    lead, p = (0.2, 0.0002) if ahead else (-0.2, 0.9999) if behind else (0.0, 0.5)
                    tests.append(test(concept, branch, "latents", f"{branch} against {rival}", lead, p))
    latents = [{
        "id": i,
        "density": draw.random() * 0.01,
        "live": i % 10 != 0,
        "most_enriched": BRANCHES[i % 4],
        "concepts": {
            "animal": draw.random() < animals,
            "colour": draw.random() < animals
        }
    } for i in range(250)]
    live = sum(latent["live"] for latent in latents)
    concepts = {
        name: {
            "positives": sum(x["live"] and x["concepts"][name] for x in latents),
            "live": live,
            "how": "invented"
        }
        for name in ("animal", "colour")
    }
    nulls = {branch: {"channels": 0.25, "activation_energy": 0.2} for branch in BRANCHES}
    return {
        "about": {
            "run": "run",
            "tap": tap,
            "k": k,
            "images": 1000,
            "tokens": 196000,
            "labelled": 1000
        },
        "branches": list(BRANCHES),
        "nulls": nulls,
        "neuron_share": neuron_share,
        "concepts": concepts,
        "tests": tests,
        "latents": latents
    }


def agreement(odds, p, same):
    """The four branches of one matching."""
    return [{
        "branch": branch,
        "pairs": 100,
        "in_branch": [[20, 10], [10, 60]],
        "odds_ratio": odds,
        "low": odds * 0.6,
        "high": odds / 0.6,
        "fisher_p": p,
        "kappa": 0.3,
        "cramers_v": 0.35,
        "chi_p": p,
        "spearman": 0.4 if odds > 1 else -0.4,
        "spearman_p": p,
        "same_branch": same,
        "expected_same": 40.0,
        "permutation_p": p
    } for branch in BRANCHES]


def random_pairs(passes):
    return {"same_branch": 60 if passes else 40, "expected_same": 40.0, "permutation_p": 0.0001 if passes else 0.5}


def match(a, b, odds=4.0, p=1e-6, same=60, random_passes=False, shuffled=(1.0, 0.5, 40)):
    """match.json of two taps. shuffled: of agreement() of pairs by shuffled channels."""
    return {
        "about": {
            "a": {
                "tap": a
            },
            "b": {
                "tap": b
            },
            "images": 1000,
            "tokens": 196000
        },
        "similarities": [{
            "name": name,
            "threshold": 0.3,
            "pairing": pairing,
            "pairs": [{
                "a": 1,
                "b": 2
            }],
            "agreement": agreement(odds, p, same),
            "random_dictionary": random_pairs(random_passes),
            "split_halves": None if name == "virtual weight" else {
                "hold": 80,
                "pairs": 100
            },
            "shuffled_channels": agreement(*shuffled) if name == "virtual weight" else None
        } for name in ("correlation", "class profile", "virtual weight") for pairing in ("one to one", "mutual best")]
    }


def pairs_csv(same, pairs=100):
    """Latent i of the first layer with latent i of the second, or with one of another branch (see branches())."""
    lines = ["similarity,pairing,a,b,value,dominant_a,dominant_b,density_a,density_b"]
    for i in range(pairs):
        partner = i if i < same * pairs else i + 1
        lines.append(f"correlation,mutual best,{i},{partner},0.5,3x3,3x3,0.01,{0.001 * (i % 10 + 1)}")
    return "\n".join(lines) + "\n"


def joined(pairs, odds=4.0, p=1e-6, same=60):
    """match.json of the joined layers."""
    return {
        "about": {
            "a": {
                "tap": "all"
            }
        },
        "between": [{
            "a": a,
            "b": b,
            "agreement": agreement(odds, p, same),
            "random_dictionary": random_pairs(False)
        } for a, b in pairs]
    }


def evaluation(tap, k):
    """An entry of what `eval --json` prints."""
    splicing = {
        "clean": {
            "top1": 0.7
        },
        "reconstruction": {
            "top1": 0.65
        },
        "recovered_against_zero": {
            "loss": 0.98
        },
        "recovered_against_mean": {
            "loss": 0.97
        }
    }
    return {"tap": tap, "k": k, "images": 630, "fvu": 0.25, "dead": 0.03, "l0": float(k), "splicing": splicing}


def training_run(folder, command_line, model="m.onnx", images=(), tokens=0, status="finished"):
    document = {"status": status, "step": 10, "command_line": command_line, "timings": {"total": 61.5}}
    document["model"] = {"sha256": "ab" * 32, "path": model}
    document["images"] = {"count": 21000, "fingerprint": "cd" * 32, "paths": list(images)}
    document |= {
        "options": {
            "batch": 1024,
            "tokens": tokens
        },
        "versions": {
            "branchsae": "0.1.0 (commit 123)"
        },
        "device": "a processor"
    }
    write(pathlib.Path(folder) / "run.json", document)
