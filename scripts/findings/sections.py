"""The sections of docs/findings.md below the table of claims."""
import textwrap

from findings import plan, statistics
from findings.tables import MISSING, figure, percent, table, with_interval


def training(results):
    rows = []
    settings = results.settings
    for k in settings.ks:
        for tap in settings.taps():
            if "." in tap and k not in (settings.ks[0], settings.ks[-1]):
                continue  # branches at the ends of the range only
            found = results.evaluation(k, tap)
            spliced = found.get("splicing") or {}
            top1 = [percent((spliced.get(name) or {}).get("top1")) for name in ("clean", "reconstruction")]
            recovered = [
                figure((spliced.get(f"recovered_against_{name}") or {}).get("loss")) for name in ("zero", "mean")
            ]
            rows.append((tap, k, figure(found.get("fvu")), percent(found.get("dead")), figure(found.get("l0")),
                         " / ".join(top1) if spliced else MISSING, *recovered))
    return (
        "## Training\n\nHeld-out images. FVU: share of the variance that is not reconstructed; dead: latents that "
        "never fire there; top-1: of the network as it is / with the layer replaced by its reconstruction; loss "
        "recovered: of the cross-entropy that is lost when the layer is replaced by zero (by its mean), what the "
        "reconstruction gives back. For single branches the smallest and the largest k.\n\n" + table(
            ("tap", ">k", ">FVU", ">dead", ">L0", ">top-1", ">loss recovered, zero", ">mean"), rows))


def other_concepts(results):
    """Whole layers, largest k: every concept and branch, the layers as one."""
    settings = results.settings
    k = settings.ks[-1]
    found = [results.branches(f"branches-k{k}", layer) for layer in settings.layers]
    found = [one for one in found if one]
    concepts = list(dict.fromkeys(name for one in found for name in one.concepts()))
    if not concepts:
        return ""
    rows = [(name, *(with_interval(statistics.pooled([one.test(name, branch) for one in found]), 2)
                     for branch in plan.BRANCHES)) for name in concepts]
    return (
        f"## Every concept and branch\n\nWhole layers, k = {k}: AUROC of the branch's share for being a feature of "
        "the concept, the layers as one. Nothing was chosen after the fact: these are all that were computed.\n\n" +
        table(("concept", *(f">{branch}" for branch in plan.BRANCHES)), rows))


def neurons(results):
    settings = results.settings
    rows, flagged = [], []
    for tap in settings.taps():
        shares = [results.branches(f"branches-k{k}", tap) for k in settings.ks]
        values = [one.neuron_share() if one else None for one in shares]
        if any(value is not None for value in values):
            rows.append((tap, *(percent(value) for value in values)))
        flagged += [
            f"{tap} at k = {k}" for k, value in zip(settings.ks, values) if value is not None and value > 0.5
        ]
    if not rows:
        return ""
    said = (
        f"More than half are, so results there are about neurons as much as about latents: {', '.join(flagged)}."
        if flagged else "Nowhere are more than half, so what stands above is about latents.")
    return (
        "## Latents or neurons\n\nShare of latents whose decoder lies within cosine 0.9 of one channel, by k. " +
        said + "\n\n" + table(("tap", *(f">k = {k}" for k in settings.ks)), rows))


def limits(settings):
    looked = "Only the photos were analysed, while most of what the autoencoders were trained on are the small images"
    if settings.has_more_than_photos():
        looked = "Only for the autoencoders of single branches were the small images analysed as well"
    text = (
        "The thousand photos have one image of each class and the twenty thousand others are 64 pixels wide, "
        "enlarged, of 200 classes: enough to tell latents that follow a wide group such as animals from those "
        "that do not, at every layer and branch, but a latent for one breed or one texture has a handful of "
        "images at most, so what is called an animal feature here is a latent that prefers animals on the whole, "
        f"not one that was seen to show an animal. {looked}; enlarged photos hold no fine detail, so features of "
        "fur, eyes or small patterns may be missing from these autoencoders or counted in the wrong place, and "
        "training saw a small part of the tokens that the paper's did: what we do not find may be there with more "
        "and sharper photos. All of it is correlation on photos of one collection in one trained network: animals "
        "come with grass, fur colours and centred poses, latents of one autoencoder are not independent of each "
        "other, and nothing here shows that a branch causes what its features respond to.")
    return "## What these photos can and cannot show\n\n" + textwrap.fill(text, 120) + "\n"
