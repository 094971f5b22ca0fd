"""How much memory agent and collector take does not depend on how large, or how many, the files are."""
import os
import random

import pytest

from fleet import Fleet, now

SIZE = 300_000_000
BOUND = 100_000_000


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def peak_bytes(process):
    """The most memory that it has had since forget_peak, or its start."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def forget_peak(process):
    with open(f"/proc/{process.pid}/clear_refs", "w") as handle:
        handle.write("5")


def megabytes():
    """SIZE bytes in pieces, the same each time: digits, so that half of them is compressed away, and none twice."""
    dice = random.Random(1)
    for _ in range(SIZE // 1_000_000):
        yield dice.randbytes(500_000).hex().encode()


def test_a_file_larger_than_all_their_memory_is_captured_and_restored(fleet):
    host = fleet.add_host("robot-large")
    path = host.path("data/large")
    with open(path, "wb") as handle:
        handle.writelines(megabytes())
    fleet.wait(120)
    assert peak_bytes(host) < BOUND, "the agent, in capture"
    assert peak_bytes(fleet.collector) < BOUND, "the collector, in capture"
    moment = now()
    path.unlink()
    fleet.wait()
    for process in (host, fleet.collector):
        forget_peak(process)
        assert peak_bytes(process) < BOUND, "nothing is left of it"
    fleet.restore("robot-large:data", "--at", moment)
    assert peak_bytes(host) < BOUND, "the agent, in restore"
    assert peak_bytes(fleet.collector) < BOUND, "the collector, in restore"
    job = fleet.json("jobs", "--all", "--host", "robot-large")["jobs"][0]
    assert job["bytes"]["fetched"] > SIZE // 3, "all of it travelled"
    with open(path, "rb") as handle:
        assert all(handle.read(len(piece)) == piece for piece in megabytes()) and handle.read(1) == b""
    host.stop()


def test_more_names_in_one_directory_than_are_held_at_a_time(fleet):
    host = fleet.add_host("robot-wide", start=False)
    count = 140_000  # more than twice as many
    for i in range(count):
        os.symlink("x", host.path(f"data/{i}"))
    host.start()
    fleet.wait(300)
    assert peak_bytes(host) < 100_000_000
    host.stop()
    gone = range(0, count, 1000)
    for i in gone:
        host.path(f"data/{i}").unlink()
    os.symlink("y", host.path("data/new"))
    host.start()
    fleet.wait(300)
    source = [s for s in fleet.json("sources")["sources"] if s["host_name"] == "robot-wide"][0]
    assert source["live_files"] == count - len(gone) + 2  # the new one and the directory
    assert source["versions"] == count + 2 + len(gone) + 1 and source["state"] == "watching"
    host.stop()
