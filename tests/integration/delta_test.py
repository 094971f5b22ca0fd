"""Files that change often: their versions are kept as what is different, and any of them is read from few records."""
import json
import random
import re

from fleet import Fleet
from tracing import Traced

VERSIONS = 100
DEPTH_MAX = 8  # of deltas on each other (collector/store/FORMAT.md)
READS_A_RECORD = 2  # its header, then the rest


def checkpoint(random_source, step):
    """What a robot writes after each step: most of it stays."""
    jobs = [{"id": f"job-{i}", "state": "waiting", "arguments": f"{i * 2654435761 % 2**32:08x}" * 8} for i in range(40)]
    jobs[step % 40]["state"] = "running"
    return json.dumps({"step": step, "token": f"{random_source.getrandbits(128):032x}", "jobs": jobs}, indent=1)


def test_any_version_of_a_file_that_changes_often_is_read_from_a_handful_of_records():
    random_source = random.Random(5)
    texts = []
    with Fleet() as fleet:
        host = fleet.add_host("robot-01", start=False)
        host.configure(host.source("data", debounce="20ms"))
        host.write("data/checkpoint.json", "{}")
        host.start()
        fleet.wait()
        for step in range(VERSIONS):
            texts.append(checkpoint(random_source, step))
            host.write("data/checkpoint.json", texts[-1])
            fleet.wait()
        target = host.target("data", "data/checkpoint.json")
        rows = fleet.json("versions", target, "--limit", str(2 * VERSIONS))["versions"]
        rows.sort(key=lambda row: row["version"])
        assert len(rows) == VERSIONS + 1
        plain = sum(map(len, texts))
        packs = sum(file.stat().st_size for file in (fleet.collector.directory / "repository/packs").iterdir())
        assert packs < plain / 8
        # So that nothing is in memory when the first, which stands on the most others, is read.
        host.stop()
        fleet.collector.stop()
        fleet.collector.start()
        counts = []
        for step in (62, 0, 30, 31, 63, 64, VERSIONS - 1):
            with Traced(fleet.collector.pid, fleet.collector.directory / "read.trace", names=True) as traced:
                content = fleet.cli("cat", target, "--version", str(rows[step + 1]["version"]))
            assert content == texts[step]
            reads = [line for line in traced.lines() if re.search(r"pread64\(\d+<[^>]*\.pack>", line)]
            assert len(reads) <= READS_A_RECORD * (DEPTH_MAX + 1), reads
            counts.append(len(reads))
        assert counts[0] > READS_A_RECORD, counts  # or nothing stands on anything, and this proves nothing
