"""What the first version of the kernels should reach on an H200 (an H100 within 10 %, more where memory rules)."""

# Case, shape, milliseconds at most.
TIMES = [("encode_topk", (65536, 48, 768), 0.110), ("encode_topk", (65536, 128, 2048), 0.170),
         ("encode_topk", (16384, 512, 8192), 0.400), ("encode_topk", (16384, 768, 32768), 2.2),
         ("sae_step", (65536, 128, 2048), 0.520), ("sae_step", (16384, 768, 32768), 4.5)]
# Baseline, how many times its tokens a second at least, n at most.
RATIOS = [("dense", 3, None), ("openai", 2, 32768)]
FORWARD_IMAGES = 20000  # a second, to mixed4e, bf16, batch 256


def shape(item):
    return tuple(item.get(key) for key in ("batch", "d", "n"))


def find(items, case, wanted):
    return next((item for item in items if item.get("case") == case and shape(item) == wanted), None)


def rows(ours, theirs, milliseconds):
    """(what, target, found, met): only of what was measured."""
    found = []
    for case, wanted, most in TIMES:
        item = find(ours, case, wanted)
        time = milliseconds(item) if item else None
        if time:
            found.append((f"{case} {'/'.join(map(str, wanted))}", f"at most {most * 1e3:.0f} us", f"{time * 1e3:.0f} us",
                          time <= most))
    for name, least, most_n in RATIOS:
        for other in theirs:
            mine = find(ours, "sae_step", shape(other))
            if other.get("baseline") != name or not other.get("tokens_per_s") or mine is None or \
                    (most_n and other["n"] > most_n):
                continue
            ratio = mine["tokens_per_s"] / other["tokens_per_s"]
            found.append((f"sae_step {'/'.join(map(str, shape(other)))} over {name}", f"at least {least}x",
                          f"{ratio:.2f}x", ratio >= least))
    for item in ours:
        if item.get("case") == "forward" and item.get("to") == "mixed4e":
            rate = item["images_per_s"]
            found.append((f"forward to mixed4e, batch {item['batch']}", f"at least {FORWARD_IMAGES:,} images/s",
                          f"{rate:,.0f} images/s", rate >= FORWARD_IMAGES))
    return found
