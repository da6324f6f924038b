"""The sections of docs/findings.md below the table of claims."""
import textwrap

from findings import plan, statistics
from findings.tables import MISSING, figure, percent, table, with_interval


def training(results):
    rows, settings = [], results.settings
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
            rows.append((tap, k, *reconstruction(found), " / ".join(top1) if spliced else MISSING, *recovered))
    text = (
        "## Training\n\nHeld-out images. FVU: share of the variance that is not reconstructed; dead: latents that "
        "never fire there; top-1: of the network as it is / with the layer replaced by its reconstruction; loss "
        "recovered: of the cross-entropy that is lost when the layer is replaced by zero (by its mean), what the "
        "reconstruction gives back. For single branches the smallest and the largest k.\n\n" + table(
            ("tap", ">k", ">FVU", ">dead", ">L0", ">top-1", ">loss recovered, zero", ">mean"), rows))
    return text + photos_alone(results)


def reconstruction(found):
    return figure(found.get("fvu")), percent(found.get("dead")), figure(found.get("l0"))


def photos_alone(results):
    """The second training, as the training itself measured it."""
    settings = results.settings
    rows = [(tap, k, *reconstruction(found)) for k in settings.photos_ks for tap in settings.taps()
            if (found := results.own_evaluation(f"photos-k{k}", tap))]
    if not rows or not settings.has_more_than_photos():
        return ""
    return (
        "\n### Trained on the photos alone\n\nAs many tokens from few photos, each seen many times; other photos "
        "are held out than above, and few, so that \"dead\" says less.\n\n" + table(
            ("tap", ">k", ">FVU", ">dead", ">L0"), rows))


def other_concepts(results):
    """Whole layers, largest k: every concept and branch, the layers as one."""
    settings, rows = results.settings, []
    for images, steps in plan.looks(settings).items():
        k = max(steps)
        found = [results.branches(steps[k], layer) for layer in settings.layers]
        found = [one for one in found if one]
        concepts = list(dict.fromkeys(name for one in found for name in one.concepts()))
        rows += [(images, k, name, *(with_interval(statistics.pooled([one.test(name, branch) for one in found]), 2)
                                     for branch in plan.BRANCHES)) for name in concepts]
    if not rows:
        return ""
    return (
        "## Every concept and branch\n\nWhole layers, largest k: AUROC of the branch's share for being a feature of "
        "the concept, the layers as one. Nothing was chosen after the fact: these are all that were computed.\n\n" +
        table(("images", ">k", "concept", *(f">{branch}" for branch in plan.BRANCHES)), rows))


def neurons(results):
    settings, rows, flagged = results.settings, [], []
    looked = plan.looks(settings)
    columns = [(f"k = {k}", step) for k, step in looked[plan.PHOTOS].items()]
    columns += [(f"k = {k}, photos alone", step) for k, step in looked.get(plan.PHOTOS_ALONE, {}).items()]
    for tap in settings.taps():
        found = [results.branches(step, tap) for _, step in columns]
        values = [one.neuron_share() if one else None for one in found]
        if any(value is not None for value in values):
            rows.append((tap, *(percent(value) for value in values)))
        flagged += [f"{tap} at {name}" for (name, _), value in zip(columns, values) if (value or 0) > 0.5]
    if not rows:
        return ""
    said = (
        f"More than half are, so results there are about neurons as much as about latents: {'; '.join(flagged)}."
        if flagged else "Nowhere are more than half, so what stands above is about latents.")
    return (
        "## Latents or neurons\n\nShare of latents whose decoder lies within cosine 0.9 of one channel, by k. " +
        said + "\n\n" + table(("tap", *(f">{name}" for name, _ in columns)), rows))


def limits(measured):
    """measured: {(which of plan.looks(), kind of effect)}."""
    looked = "the small images trained but were not analysed"
    if (plan.ALL_IMAGES, "AUROC") in measured:
        looked = "of the small images only latents of whole layers were analysed, and at the largest k only"
    if (plan.ALL_IMAGES, "odds ratio") in measured:
        looked = "the small images were analysed at the largest k only"
    if plan.PHOTOS_ALONE in {images for images, _ in measured}:
        looked += (", and the autoencoders that trained on the photos alone saw each of them many times and are "
                   "analysed on those they trained on")
    text = (
        "The thousand photos have one image of each class and the twenty thousand others are 64 pixels wide, "
        "enlarged, of 200 classes: enough to tell latents that follow a wide group such as animals from those "
        "that do not, at every layer and branch, but a latent for one breed or one texture has a handful of sharp "
        "images at most, so what is called an animal feature here is a latent that prefers animals on the whole, "
        "not one that was seen to show an animal. Enlarged photos hold no fine detail, so features of fur, eyes or "
        "small patterns may be missing from the autoencoders that mostly trained on them, or counted in the wrong "
        f"place; {looked}; and training saw a small part of the tokens that the paper's did: what we do not find "
        "may be there with more and sharper photos. All of it is correlation on photos of one collection in one "
        "trained network: animals come with grass, fur colours and centred poses, latents of one autoencoder are "
        "not independent of each other, and nothing here shows that a branch causes what its features respond to.")
    return "## What these photos can and cannot show\n\n" + textwrap.fill(text, 120) + "\n"
