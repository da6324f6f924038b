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
    match_ks: tuple = (8, 32)
    second_seed: tuple = ("mixed4b", "mixed4d")
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
        """Whether anything is analysed over more images than the photos."""
        return bool(self.photos) and self.photos != self.images and bool(self.full_ks)

    def pairs(self):
        return list(zip(self.layers, self.layers[1:]))


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of the program. `name` is also the name of its results in WORK/results/."""
    name: str
    arguments: tuple
    run: pathlib.Path | None = None  # of a training step: the folder that it makes
    about: str = ""  # a line for the page


def run_folder(settings, name):
    return settings.work / "runs" / name


def member(settings, name, k):
    """The run of one k in a sweep's folder."""
    return run_folder(settings, name) / "sweep" / f"k={k}"


def out_folder(settings, name):
    return settings.work / "results" / name


def training_step(settings, name, taps, images, extra, about):
    folder = run_folder(settings, name)
    arguments = ("train", str(settings.model), *map(str, images), "--tap", ",".join(taps), *extra, "--batch",
                 str(settings.batch), "--holdout",
                 str(settings.holdout), "--buffer-tokens", "65536", "--max-memory", "6GiB", "--threads",
                 str(settings.threads), "--checkpoint-every", "15min", "--no-progress", "--out", str(folder))
    return Step(f"train-{name}", arguments, run=folder, about=about)


def training(settings):
    """Autoencoders of every layer and branch at every k from one pass; a second seed; the joined layers, which are
    wide, on the photos only."""
    def sweep(ks):
        return "--sweep", "k=" + ",".join(map(str, ks))

    sampled = ("--tokens", str(settings.tokens), "--positions-per-image", str(settings.positions))
    steps = [
        training_step(settings, "layers", settings.taps(), settings.images,
                      (*sampled, *sweep(settings.ks), "--seed", "0"),
                      "the whole of each layer and its four branches")
    ]
    if settings.second_seed and settings.match_ks:
        steps.append(
            training_step(settings, "second", settings.second_seed, settings.images,
                          (*sampled, *sweep(settings.match_ks), "--seed", "1"), "a second seed"))
    if has_joined(settings):
        extra = ("--epochs", "1", "--k", str(settings.ks[-1]), "--expansion", str(settings.joined_expansion),
                 "--seed", "0")
        steps.append(
            training_step(settings, "joined", ("+".join(settings.layers), ), settings.photos or settings.images,
                          extra, "all layers joined into one autoencoder, on the photos only"))
    return steps


def has_joined(settings):
    return len(settings.layers) > 1 and settings.joined_expansion > 0


def held_out(settings):
    return [
        Step(f"eval-k{k}", ("eval", str(member(settings, "layers", k)), "--tap", ",".join(
            settings.layers), "--out", str(out_folder(settings, f"eval-k{k}")), *common(settings), "--json"),
             about="reconstruction, and the network run on from it, over the held-out images") for k in settings.ks
    ]


def common(settings):
    return "--threads", str(settings.threads), "--no-progress"


def analysis(settings):
    """branches of every tap at every k over the photos, and of the single branches over all images at full_ks;
    matches of neighbouring layers and of two seeds; the joined layers."""
    photos = tuple(map(str, settings.photos or settings.images))
    everything = tuple(map(str, settings.images))
    steps = []

    def add(name, command, runs, images, *extra):
        steps.append(analysis_step(settings, name, (command, *map(str, runs), *extra), images))

    asked = ("--no-causal", "--max-memory", "4GiB", "--concepts")  # what no claim asks would cost passes
    for k in settings.ks:
        add(f"branches-k{k}", "branches", (member(settings, "layers", k), ), photos, *asked,
            "animal,dog,bird,colour")
    for k in settings.match_ks:
        run = member(settings, "layers", k)
        if settings.pairs():
            pairs = ",".join(f"{a}:{b}" for a, b in settings.pairs())
            add(f"match-k{k}", "match", (run, ), photos, "--tap-pairs", pairs)
        if settings.second_seed:
            pairs = ",".join(f"{tap}:{tap}" for tap in settings.second_seed)
            add(f"seeds-k{k}", "match", (run, member(settings, "second", k)), photos, "--tap-pairs", pairs)
    if has_joined(settings):
        add("joined", "match", (run_folder(settings, "joined"), ), photos)
    for k in settings.full_ks if settings.has_more_than_photos() else ():
        own = ",".join(tap for tap in settings.taps() if "." in tap)
        add(f"branches-all-k{k}", "branches", (member(settings, "layers", k), ), everything, "--tap", own,
            "--no-causal", "--max-memory", "16GiB", "--concepts", "animal,dog,bird")
    return steps


def analysis_step(settings, name, words, images):
    return Step(name, (*words, "--images", ",".join(images), "--out", str(out_folder(
        settings, name)), "--seed", "0", "--rounds", str(settings.rounds), *common(settings)))


def all_steps(settings):
    return [*training(settings), *held_out(settings), *analysis(settings)]
