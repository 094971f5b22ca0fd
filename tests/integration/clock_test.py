"""A host whose clock is set, by hours, while its files change: all of them are captured, and a version comes back by the
moment at which the collector had it, whatever the host took the time for."""
import datetime
import subprocess
import threading
import time

import pytest

from faults import Faults
from fleet import Fleet, now, tree_digest, wait_until

HOUR_S = 3600


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Of a collector that was there twelve hours ago, so that its certificate is no news to a clock that is behind."""
    with Faults(tmp_path_factory.mktemp("collector")) as faults, pytest.MonkeyPatch.context() as patch:
        faults.set_clock(-12 * HOUR_S)
        for name, value in faults.environment.items():
            patch.setenv(name, value)
        made = Fleet()
    with made as fleet:
        yield fleet


class Writer:
    """Somebody who writes to files of a host all the time."""

    def __init__(self, host):
        self.host, self.ended, self.steps = host, threading.Event(), 0
        self.thread = threading.Thread(target=self.write)

    def write(self):
        while not self.ended.wait(0.02):
            self.steps += 1
            self.host.write(f"data/busy/{self.steps % 7}", f"step {self.steps:08}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def moment_of(version):
    return datetime.datetime.fromisoformat(version["at"].replace("Z", "+00:00")[:26] + "+00:00").timestamp()


@pytest.mark.parametrize("settings", [(6, 0), (-5, 0), (0, 7, -4, 1, 0)],
                         ids=["ahead-from-the-start", "behind-from-the-start", "to-and-fro"])
def test_a_clock_that_jumps_by_hours_loses_no_change_and_moves_no_version(fleet, settings):
    host = fleet.add_host("robot" + "".join(f"-{hours}" for hours in settings).replace("--", "-m"), start=False)
    host.configure(host.source("data", rescan="1h", verify="1h", debounce="500ms"))
    with Faults(host.directory) as faults:
        faults.preload(host)
        faults.set_clock(settings[0] * HOUR_S)
        host.start()
        states = []

        def state(text):
            """What the file is from now on, and a moment at which the collector has it."""
            began = time.time()
            host.write("new", text).rename(host.path("data/state"))
            fleet.wait()
            states.append((text, began, time.time(), now()))
            time.sleep(0.05)

        with Writer(host) as writer:
            state("before")
            for before, after in zip(settings, settings[1:]):
                steps = writer.steps
                way = "forward" if after > before else "back"
                said = host.output().count(f"had its clock set {way} by")
                host.write("data/in the moment", f"until {after}")
                faults.set_clock(after * HOUR_S)
                host.write("data/in the next", f"from {after}")
                host.path("data/in the moment").rename(host.path(f"data/once {after}"))
                state(f"since {after}")
                wait_until(lambda: host.output().count(f"had its clock set {way} by") > said, "it to be said")
                assert f"had its clock set {way} by {abs(after - before)} h: comparing everything" in host.output()
                until = datetime.datetime.fromisoformat(fleet.source(host)["protected_until"][:26].rstrip("Z") + "+00:00")
                assert until.timestamp() <= time.time(), "it claims what is yet to come"
                wait_until(lambda: writer.steps > steps + 20, "more to be written")
        fleet.wait()
        # A moment is the collector's, in whatever order the host's clock had them.
        versions = fleet.versions(host, "data", "data/state")[::-1]
        assert [version["size"] for version in versions] == [len(text) for text, *_ in states]
        for version, (text, began, ended, moment) in zip(versions, states):
            assert began - 1 <= moment_of(version) <= ended + 1, (text, version)
            assert fleet.cli("cat", host.target("data", "data/state"), "--at", moment) == text
        # All is there that was written, up to the last of it.
        copy = fleet.directory / f"{host.name}-copy"
        copy.mkdir()
        fleet.cli("download", host.target("data"), "--output", f"{copy}.tar")
        subprocess.run(["tar", "-xpf", f"{copy}.tar", "-C", copy], check=True)
        held, there = tree_digest(f"{copy}{host.path('data')}"), tree_digest(host.path("data"))
        for digest in held, there:          # but for times of change, which the process saw as its clock was
            for entry in digest.values():
                if len(entry) > 5:
                    entry.pop(4)
        assert held == there
        assert fleet.source(host)["state"] == "watching" and fleet.source(host)["note"] == ""
        host.stop()
