"""What Holdfast aims at beside its peers, and how far from it a run was. Missing an aim fails nothing."""

SMALL = ("checkpoint-4k", "checkpoint-200k")
MB = 1_000_000


def best(peers, step, figure):
    """The lowest of all peers, and whose it is; None where none has it."""
    found = [(figures[step][figure], name) for name, figures in peers.items() if figure in figures.get(step, {})]
    return min(found, default=None)


def best_stored(peers):
    return min(((figures["stored"][0], name) for name, figures in peers.items() if "stored" in figures), default=None)


def _ratio(figures, peers, step, figure):
    other = peers.get("restic", {}).get(step)
    return figures[step][figure] / other[figure] if other and step in figures else None


def aims_of(work, subjects):
    """[{"aim", "is", "at_most", "unit"}] of one work; `is` is None where the run had nothing to compare."""
    figures = subjects.get("holdfast")
    if not figures or "failed" in figures:
        return []
    peers = {name: its for name, its in subjects.items() if name != "holdfast" and "failed" not in its}
    aims = []

    def aim(text, value, at_most, unit):
        aims.append({"aim": text, "is": value, "at_most": at_most, "unit": unit})

    if "first" in figures:
        aim("first capture, wall", _ratio(figures, peers, "first", "wall_s"), 0.5, "of restic's")
        aim("first capture, cpu", _ratio(figures, peers, "first", "cpu_s"), 0.6, "of restic's")
    aim("unchanged rescan, wall", _ratio(figures, peers, "rescan", "wall_s"), 0.2, "of restic's")
    aim("full restore, wall", _ratio(figures, peers, "restore", "wall_s"), 0.5, "of restic's")
    lowest = best_stored(peers)
    if work == "tree" or work in SMALL:
        aim("stored bytes", figures["stored"][0] / lowest[0] if lowest else None, 1.0 if work == "tree" else 0.2,
            f"of {lowest[1]}'s, the best peer" if lowest else "of the best peer's")
    if "latency" in figures:
        aim("close to durable, p50", figures["latency"]["p50_ms"], 10, "ms")
        aim("close to durable, p99", figures["latency"]["p99_ms"], 100, "ms")
    if "idle" in figures:
        aim("agent idle, cpu", figures["idle"]["cpu_percent"], 0.05, "% of a core")
        aim("agent idle, memory", figures["idle"]["resident_bytes"] / MB, 6, "MB resident")
    return aims


def reached(aim):
    return aim["is"] is not None and aim["is"] <= aim["at_most"]


def verdict(aim):
    if aim["is"] is None:
        return "not compared: there was nothing to compare with"
    if reached(aim):
        return "reached"
    return f"missed by {aim['is'] - aim['at_most']:.3g} ({aim['is'] / aim['at_most']:.2f} times the aim)"
