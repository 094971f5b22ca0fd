"""The tables for people: one of the machine's limits, one for each work."""
import aims

MB = 1_000_000
STEPS = {"first": "first capture", "versions": "all versions", "rescan": "nothing changed", "changed": "1 % changed",
         "restore": "full restore", "one_file": "one file, mid version"}
PARTS = {"wall_s": "wall s", "cpu_s": "cpu s", "peak_bytes": "peak MB"}
LABEL_WIDTH, WIDTH = 32, 10


def number(value):
    """Three digits that matter, without an exponent."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 0.1:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1g}"


def _line(label, cells):
    return f"  {label:{LABEL_WIDTH}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)


def _figure(figures, step, part):
    value = figures.get(step, {}).get(part)
    return value / MB if value is not None and part.endswith("bytes") else value


def _mark(figures, step, part):
    return "*" if "done" in figures.get(step, {}) and not part.endswith("bytes") else ""


def _ratios(mine, others, peers):
    """Holdfast's figure over restic's and over the lowest of all peers'."""
    theirs = [others[name] for name in peers if others.get(name)]
    over = (lambda other: number(mine / other) if mine is not None and other else "")
    return [over(others.get("restic")), over(min(theirs) if theirs else None)]


def _step_rows(step, subjects, floor):
    names = list(subjects)
    peers = [name for name in names if name != "holdfast"]
    for part, unit in PARTS.items():
        values = {name: _figure(subjects[name], step, part) for name in names}
        if not any(value is not None for value in values.values()):
            continue
        cells = [number(values[name]) + (_mark(subjects[name], step, part) if values[name] is not None else "")
                 for name in names]
        if "holdfast" in subjects:
            cells += [number(_figure(subjects["holdfast"], step, f"{side}_{part}")) for side in ("agent", "collector")]
            cells += [number(floor.get(step, {}).get(part))]
            cells += _ratios(values["holdfast"], values, peers)
        yield _line(f"{STEPS[step] if part == 'wall_s' else '':23}{unit}", cells)


def _bytes_rows(subjects):
    names = list(subjects)
    peers = [name for name in names if name != "holdfast"]
    for key, index, label in (("stored", 0, "stored, in files"), ("stored", 1, "stored, on disk"),
                              ("beside", 1, "caches beside it")):
        values = {name: subjects[name][key][index] / MB for name in names if key in subjects[name]}
        cells = [number(values.get(name)) for name in names]
        if "holdfast" in subjects:
            cells += ["", "", ""] + _ratios(values.get("holdfast"), values, peers)
        yield _line(f"{label:23}MB", cells)


def _notes(subjects, kinds):
    for name, figures in subjects.items():
        if "failed" in figures:
            yield f"  {name} FAILED: {figures['failed']}"
    scaled = {}
    for name, figures in subjects.items():
        sampled = {step: figures[step] for step in STEPS if "done" in figures.get(step, {})}
        parts = ", ".join(f"{STEPS[step]} x{number(its['of'] / its['done'])} of {its['done']:.0f}"
                          for step, its in sampled.items())
        if parts:
            scaled.setdefault(parts, []).append(name)
    for parts, names in scaled.items():
        yield f"  * {', '.join(names)}: {parts}"
    if scaled:
        yield "  * stored bytes of these go on as in the later half of the first step's sample"
    for kind in kinds:
        if kind.name in subjects and kind.note:
            yield f"  {kind.note}"


def _own(figures):
    if "latency" in figures:
        latency = figures["latency"]
        yield (f"  holdfast, close to durable ack, {latency['count']:.0f} times: p50 {latency['p50_ms']:.1f} ms, "
               f"p99 {latency['p99_ms']:.1f} ms, longest {latency['max_ms']:.1f} ms")
    if "idle" in figures:
        idle = figures["idle"]
        yield (f"  holdfast's agent, idle for {idle['seconds']:.0f} s: {idle['cpu_percent']:.4f} % of a core, "
               f"{idle['resident_bytes'] / MB:.1f} MB resident")


def of_work(name, work, kinds):
    """`work` is {"what", "notes", "floor", "subjects", "aims"}, as in the JSON."""
    subjects = work["subjects"]
    extra = ["agent", "collector", "floor", "/restic", "/best"] if "holdfast" in subjects else []
    lines = [f"{name}: {work['what']}", _line("", [*subjects, *extra])]
    for step in STEPS:
        lines += _step_rows(step, subjects, work["floor"])
    lines += _bytes_rows(subjects)
    lines += _own(subjects.get("holdfast", {}))
    lines += [f"  {note}" for note in work["notes"]]
    lines += _notes(subjects, kinds)
    for aim in work["aims"]:
        value = "" if aim["is"] is None else f" {number(aim['is'])}"
        lines.append(f"  aim: {aim['aim']} <= {aim['at_most']} {aim['unit']}:{value} {aims.verdict(aim)}")
    return "\n".join(lines)


def of_machine(limits):
    zstd = limits["zstd"]
    rate = (lambda value: f"{value / MB:,.0f} MB/s")
    rows = [("cores, memory", f"{limits['cores']}, {limits['memory_bytes'] / 1e9:.0f} GB"),
            ("load before the run", f"{limits['load']:.2f}"),
            ("memcpy", rate(limits["memcpy"])), ("SHA-256", rate(limits["sha256"])),
            ("AES-256-GCM", rate(limits["aes_256_gcm"]))]
    rows += [(f"zstd -{level}", f"{rate(zstd[level]['compress'])}, to 1/{zstd[level]['ratio']:.1f}; "
                                f"back at {rate(zstd[level]['decompress'])}") for level in sorted(zstd)]
    sync = limits["fdatasync"]
    rows += [("TLS over loopback", rate(limits["tls_loopback"])),
             ("4 KiB + fdatasync", f"p50 {sync['p50_s'] * 1e3:.2f} ms, p99 {sync['p99_s'] * 1e3:.2f} ms, "
                                   f"longest {sync['max_s'] * 1e3:.2f} ms")]
    return "\n".join(["the machine's limits (throughputs of one core)",
                      *(f"  {label:{LABEL_WIDTH}}{text}" for label, text in rows)])
