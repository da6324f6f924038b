"""What scripts/findings.py has the program do, as a list of steps. Nothing here runs anything."""
import dataclasses
import pathlib

BRANCHES = ("1x1", "3x3", "5x5", "pool")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user may choose. Paths are absolute."""
    program: pathlib.Path
    model: pathlib.Path
    images: tuple  # all: training, and the analysis at `full_ks`
    work: pathlib.Path
    photos: tuple = ()  # the analysis at every k; empty: all images
    layers: tuple = ("mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e")
    ks: tuple = (4, 8, 16, 32)
    full_ks: tuple = (32, )
    full_concepts: tuple = ("animal", "dog", "bird", "colour")  # of all images; colour is a second pass over them
    photos_ks: tuple = (8, 32)  # of a second training, on the photos alone
    match_ks: tuple = (4, 8, 16, 32)
    match_positions: int = 9  # of an image, of all images: about as many tokens as all positions of 1,000 photos are
    second_seed: tuple = ("mixed4b", "mixed4d")  # trained again at the largest of match_ks
    tokens: int = 460_800
    positions: int = 32  # of an image: 460,800 tokens come from 14,400 images
    batch: int = 1024
    holdout: float = 0.03
    joined_expansion: int = 4  # 0: no joined layers
    rounds: int = 10000
    threads: int = 2

    def taps(self):
        """Each whole layer and its four branches."""
        return [tap for layer in self.layers for tap in (layer, *(f"{layer}.{b}" for b in BRANCHES))]

    def has_more_than_photos(self):
        """Whether the autoencoders train on more images than the photos."""
        return bool(self.photos) and self.photos != self.images

    def pairs(self):
        return list(zip(self.layers, self.layers[1:]))

    def has_joined(self):
        return len(self.layers) > 1 and self.joined_expansion > 0


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of the program. `name` is also the name of its results in WORK/results/."""
    name: str
    arguments: tuple
    run: pathlib.Path | None = None  # of a training step: the folder that it makes


def run_folder(settings, name):
    return settings.work / "runs" / name


def member(settings, name, k):
    """The run of one k in a sweep's folder."""
    return run_folder(settings, name) / "sweep" / f"k={k}"


def out_folder(settings, name):
    return settings.work / "results" / name


PHOTOS, ALL_IMAGES, PHOTOS_ALONE = "photos", "photos and shards", "photos, trained on photos alone"


def looks(settings):
    """What `branches` looks at: {which images: {k: folder of the results}}."""
    found = {PHOTOS: {k: f"branches-k{k}" for k in settings.ks}}
    if settings.has_more_than_photos():
        found[ALL_IMAGES] = {k: f"branches-all-k{k}" for k in settings.full_ks}
        found[PHOTOS_ALONE] = {k: f"branches-photos-k{k}" for k in settings.photos_ks}
    return {images: steps for images, steps in found.items() if steps}


def matched(settings):
    """What neighbouring layers are matched on: {which images: {k: step of `match`}}."""
    found = {PHOTOS: {k: f"match-k{k}" for k in settings.match_ks}}
    if settings.has_more_than_photos():
        found[ALL_IMAGES] = {k: f"match-all-k{k}" for k in settings.full_ks}
    return {images: steps for images, steps in found.items() if steps}


def training(settings, name, taps, images, *extra):
    folder = run_folder(settings, name)
    arguments = ("train", str(settings.model), *map(str, images), "--tap", ",".join(taps), *extra, "--batch",
                 str(settings.batch), "--holdout",
                 str(settings.holdout), "--buffer-tokens", "65536", "--max-memory", "6GiB", "--threads",
                 str(settings.threads), "--checkpoint-every", "15min", "--no-progress", "--out", str(folder))
    return Step(f"train-{name}", arguments, run=folder)


def sampled(settings):
    return "--tokens", str(settings.tokens), "--positions-per-image", str(settings.positions)


def train_layers(settings):
    """Autoencoders of every layer and branch at every k from one pass."""
    ks = "k=" + ",".join(map(str, settings.ks))
    return training(settings, "layers", settings.taps(), settings.images, *sampled(settings), "--sweep", ks,
                    "--seed", "0")


def photos_alone(settings, k):
    """The same on the photos alone, as many tokens, and its analysis: what an autoencoder finds depends on what it
    was shown. A run a k, so that the largest k can come first."""
    train = training(settings, f"photos-k{k}", settings.taps(), settings.photos, *sampled(settings), "--k", str(k),
                     "--seed", "0")
    return [train, branches(settings, f"branches-photos-k{k}", train.run, settings.photos)]


def second_seed(settings):
    """Whether a layer's latents come back from another seed: the most that C5 could find."""
    if not settings.second_seed or not settings.match_ks:
        return []
    k = settings.match_ks[-1]
    pairs = ",".join(f"{tap}:{tap}" for tap in settings.second_seed)
    train = training(settings, "second", settings.second_seed, settings.images, *sampled(settings), "--k", str(k),
                     "--seed", "1")
    return [train, match(settings, f"seeds-k{k}", (member(settings, "layers", k), train.run), "--tap-pairs", pairs)]


def joined(settings):
    """All layers as one autoencoder, which is wide: on the photos only."""
    if not settings.has_joined():
        return []
    train = training(settings, "joined", ("+".join(settings.layers), ), settings.photos
                     or settings.images, "--epochs", "1", "--k", str(settings.ks[-1]), "--expansion",
                     str(settings.joined_expansion), "--seed", "0")
    return [train, match(settings, "joined", (train.run, ))]


def evaluation(settings, k):
    """Reconstruction, and the network run on from it, over the held-out images."""
    name = f"eval-k{k}"
    return Step(name, ("eval", str(member(settings, "layers", k)), "--tap", ",".join(
        settings.layers), "--out", str(out_folder(settings, name)), *common(settings), "--json"))


def common(settings):
    return "--threads", str(settings.threads), "--no-progress"


def over_photos(settings, k):
    return branches(settings, f"branches-k{k}", member(settings, "layers", k), settings.photos or settings.images)


def over_all_images(settings, k):
    """The layers from the same forward passes, of which each takes minutes, and then their branches."""
    name, run = f"branches-all-k{k}", member(settings, "layers", k)
    common_options = {"concepts": settings.full_concepts, "memory": "16GiB", "result": name}
    single = [tap for tap in settings.taps() if tap not in settings.layers]
    return [
        branches(settings, name, run, settings.images, "--tap", ",".join(settings.layers), **common_options),
        branches(settings, f"{name}-single", run, settings.images, "--tap", ",".join(single), **common_options)
    ]


def branches(settings,
             name,
             run,
             images,
             *extra,
             concepts=("animal", "dog", "bird", "colour"),
             memory="4GiB",
             result=None):
    """Without what no claim asks for, which would cost passes."""
    return analysis(settings,
                    name,
                    images,
                    "branches",
                    str(run),
                    *extra,
                    "--no-causal",
                    "--max-memory",
                    memory,
                    "--concepts",
                    ",".join(concepts),
                    result=result)


def match(settings, name, runs, *extra, images=None):
    images = images or settings.photos or settings.images
    return analysis(settings, name, images, "match", *map(str, runs), *extra)


def neighbours(settings, k, which=PHOTOS):
    pairs = ",".join(f"{a}:{b}" for a, b in settings.pairs())
    if not pairs:
        return []
    few = ("--positions", str(settings.match_positions)) if which == ALL_IMAGES else ()
    images = settings.images if which == ALL_IMAGES else None
    return [
        match(settings,
              matched(settings)[which][k], (member(settings, "layers", k), ),
              "--tap-pairs",
              pairs,
              *few,
              images=images)
    ]


def analysis(settings, name, images, *words, result=None):
    return Step(name, (*words, "--images", ",".join(map(str, images)), "--out", str(out_folder(
        settings, result or name)), "--seed", "0", "--rounds", str(settings.rounds), *common(settings)))


def all_steps(settings):
    """In the order of what they give the page, so that it says much before all are done: the largest k first, which
    is the paper's; what takes longest last."""
    ks, match_ks = settings.ks[::-1], settings.match_ks[::-1]
    more = settings.has_more_than_photos()
    steps = [train_layers(settings), over_photos(settings, ks[0]), evaluation(settings, ks[0])]
    for k in settings.photos_ks[::-1] if more else ():
        steps += photos_alone(settings, k)
    for k in match_ks[:1]:
        steps += neighbours(settings, k)
    for k in ks[1:]:
        steps += [over_photos(settings, k), evaluation(settings, k)]
    for k in match_ks[1:]:
        steps += neighbours(settings, k)
    steps += [*second_seed(settings), *joined(settings)]
    for k in settings.full_ks[::-1] if more else ():
        steps += [*over_all_images(settings, k), *neighbours(settings, k, ALL_IMAGES)]
    return steps
