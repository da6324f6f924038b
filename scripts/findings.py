#!/usr/bin/env python3
"""Trains autoencoders on InceptionV1's layers and branches, analyses them, and writes docs/findings.md.

    scripts/findings.py --branchsae build/bin/branchsae --model googlenet.onnx --images photos/ train-00{0..3}.tar \\
        --work work/ --out docs/findings.md

--work holds runs and results; steps that are done there are not repeated, so the command can be stopped and called
again. The first of --images is the set of photos that is analysed at every k; all of them train, and are analysed at
--full-k; a second training sees the photos alone. What the page concludes follows from scripts/findings/rules.py.
"""
import argparse
import pathlib
import sys

from findings import page, plan, runner
from findings.results import Results


def numbers(text):
    try:
        values = tuple(sorted({int(word) for word in text.split(",") if word}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers and commas, as 8,32, not '{text}'") from None
    if any(value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"takes numbers of at least 1, not '{text}'")
    return values


def words(text):
    return tuple(word for word in text.split(",") if word)


def parse(arguments):
    defaults = plan.Settings(pathlib.Path(), pathlib.Path(), (), pathlib.Path())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branchsae", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--images",
                        type=pathlib.Path,
                        nargs="+",
                        required=True,
                        help="the photos, then what else trains: folders, lists, .tar shards")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for runs and results")
    parser.add_argument("--out",
                        type=pathlib.Path,
                        required=True,
                        help="the page; charts go to a folder of its name")
    parser.add_argument("--layers", type=words, default=defaults.layers)
    parser.add_argument("--k", type=numbers, default=defaults.ks, help="as 4,8,16,32")
    parser.add_argument("--full-k",
                        type=numbers,
                        default=defaults.full_ks,
                        help="k's analysed over all images; '' for none")
    parser.add_argument("--full-concepts",
                        type=words,
                        default=defaults.full_concepts,
                        help="asked of all images; colour costs another pass over them")
    parser.add_argument("--photos-k",
                        type=numbers,
                        default=defaults.photos_ks,
                        help="k's of the training on the photos alone; '' for none")
    parser.add_argument("--match-k",
                        type=numbers,
                        default=defaults.match_ks,
                        help="k's at which layers are matched")
    parser.add_argument("--match-positions",
                        type=int,
                        default=defaults.match_positions,
                        help="tokens of an image by which layers are matched over all images")
    parser.add_argument("--second-seed",
                        type=words,
                        default=defaults.second_seed,
                        help="layers trained twice, at the largest of --match-k; '' for none")
    parser.add_argument("--tokens", type=int, default=defaults.tokens, help="that each autoencoder trains on")
    parser.add_argument("--positions", type=int, default=defaults.positions, help="tokens taken of an image")
    parser.add_argument("--joined-expansion",
                        type=int,
                        default=defaults.joined_expansion,
                        help="latents a channel of the joined layers' autoencoder; 0: none")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--steps",
                        type=words,
                        help="run these only, as eval-k8,branches-k8; the page lists their names")
    parser.add_argument("--page-only", action="store_true", help="run nothing; write the page from what is there")
    return parser, parser.parse_args(arguments)


def checked(parser, a):
    for path in (a.branchsae, a.model, *a.images):
        if not path.exists():
            parser.error(f"{path} is not there")
    extra = (set(a.full_k) | set(a.match_k)) - set(a.k)
    if not a.k or extra:
        parser.error(f"--full-k and --match-k take k's of --k; not among them: {sorted(extra)}")
    if not a.full_concepts:
        parser.error("--full-concepts takes at least one concept")
    if set(a.second_seed) - set(a.layers):
        parser.error(
            f"--second-seed takes layers of --layers; not among them: {sorted(set(a.second_seed) - set(a.layers))}")
    images = tuple(path.resolve() for path in a.images)
    return plan.Settings(program=a.branchsae.resolve(),
                         model=a.model.resolve(),
                         images=images,
                         work=a.work.resolve(),
                         photos=images[:1],
                         layers=a.layers,
                         ks=a.k,
                         full_ks=a.full_k,
                         full_concepts=a.full_concepts,
                         photos_ks=a.photos_k,
                         match_ks=a.match_k,
                         match_positions=a.match_positions,
                         second_seed=a.second_seed,
                         tokens=a.tokens,
                         positions=a.positions,
                         batch=a.batch,
                         joined_expansion=a.joined_expansion,
                         threads=a.threads)


def chosen_steps(parser, a, settings):
    steps = plan.all_steps(settings)
    unknown = set(a.steps or ()) - {step.name for step in steps}
    if unknown:
        parser.error(f"--steps: no such step: {', '.join(sorted(unknown))}; there are "
                     f"{', '.join(step.name for step in steps)}")
    if a.page_only:
        return []
    return [step for step in steps if not a.steps or step.name in a.steps]


def main(arguments=None):
    parser, a = parse(arguments)
    settings = checked(parser, a)
    failed = 0
    for step in chosen_steps(parser, a, settings):
        try:
            runner.run_step(settings, step)
        except runner.StepFailed as error:
            runner.say(f"error: {error}")
            failed += 1
            if step.run is not None and step.name == "train-layers":
                return 1
    page.write(settings, Results(settings), a.out.resolve())
    runner.say(f"{a.out}" + (f"; {failed} steps failed, what hangs on them is open" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
