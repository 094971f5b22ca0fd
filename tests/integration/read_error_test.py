"""A disk that fails in the middle of a file, or of a directory: it keeps what was captured of it, is named with the error,
and is captured once it can be read; all else goes on meanwhile."""
import errno
import os
import re

import pytest

from faults import Faults
from fleet import Fleet, wait_until

MIDDLE = 2_500_000


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


@pytest.fixture
def faults(tmp_path):
    with Faults(tmp_path) as faults:
        yield faults


def failing(fleet, faults, name):
    """A host whose disk can fail; scans retry what could not be read."""
    host = fleet.add_host(name, start=False)
    host.configure(host.source("data", rescan="300ms", verify="1h"))
    faults.preload(host)
    return host


def content(fleet, host, name):
    return fleet.cli("cat", host.target("data", f"data/{name}"), check=False, text=False).stdout


def wait_for_the_note(fleet, host, name, error):
    wait_until(lambda: host.name in {source["host_name"] for source in fleet.json("sources")["sources"]}, "the source")
    wait_until(lambda: fleet.source(host)["state"] == "failing", "it to be said")
    said = re.escape(f"{host.path('data')}/{name}: ") + f".*{re.escape(os.strerror(error))}"
    wait_until(lambda: re.search(said, fleet.source(host)["note"]), f"{name} and its error to be named")


def wait_for_the_end(fleet, host, until):
    wait_until(lambda: fleet.source(host)["state"] == "watching", "it to be over")
    wait_until(lambda: fleet.source(host)["note"] == "", "that to be said")
    wait_until(lambda: fleet.source(host)["protected_until"] > until, "a later mark")


@pytest.mark.parametrize("size,offset,error", [(5_000_000, MIDDLE, errno.EIO), (5_000_000, 0, errno.EUCLEAN),
                                               (3000, 0, errno.EIO), (40_000, 16_384, errno.EIO)],
                         ids=["in-the-middle", "from-the-beginning", "of-a-small-file", "in-a-small-file"])
def test_a_file_that_fails_to_be_read_keeps_its_last_version_until_it_can_be(fleet, faults, size, offset, error):
    host = failing(fleet, faults, f"robot-{size}-{offset}")
    before, after = os.urandom(size), os.urandom(size)
    host.write("data/b/file", before)
    host.write("data/b/other", "before")
    host.start()
    fleet.wait()
    faults.fail_reads(host.path("data/b/file"), offset, error)
    host.write("data/b/file", after)
    wait_for_the_note(fleet, host, "b/file", error)
    until = fleet.source(host)["protected_until"]
    for name in "a", "b/file-too", "b/other", "c":   # before it and after it, new and old
        host.write(f"data/{name}", f"while it fails, {name}")
        wait_until(lambda: content(fleet, host, name) == f"while it fails, {name}".encode(), name)
    assert content(fleet, host, "b/file") == before
    assert {version["size"] for version in fleet.versions(host, "data", "data/b/file")} <= {0, size}
    assert fleet.source(host)["state"] == "failing"
    faults.end_failing()                             # and nobody touches it
    wait_until(lambda: content(fleet, host, "b/file") == after, "what could not be read")
    wait_for_the_end(fleet, host, until)
    host.stop()


def test_a_file_that_fails_to_be_read_when_the_agent_starts_is_captured_later(fleet, faults):
    host = failing(fleet, faults, "robot-start")
    file = os.urandom(5_000_000)
    faults.fail_reads(host.write("data/file", file), MIDDLE)
    host.write("data/z/other", "goes on")
    host.start()
    wait_for_the_note(fleet, host, "file", errno.EIO)
    wait_until(lambda: content(fleet, host, "z/other") == b"goes on", "the other")
    assert fleet.cli("cat", host.target("data", "data/file"), check=False).returncode != 0
    host.stop()
    host.start()
    wait_for_the_note(fleet, host, "file", errno.EIO)
    faults.end_failing()
    wait_until(lambda: content(fleet, host, "file") == file, "what could not be read")
    host.stop()


def test_a_directory_that_fails_to_be_listed_is_not_taken_for_empty(fleet, faults):
    host = failing(fleet, faults, "robot-directory")
    host.write("data/b/deep/file", "in it")
    host.write("data/b/file", "in it")
    host.write("data/z", "beside it")
    host.start()
    fleet.wait()
    host.stop()
    faults.fail_reads(host.path("data/b"))
    host.start()
    wait_for_the_note(fleet, host, "b", errno.EIO)
    until = fleet.source(host)["protected_until"]
    host.write("data/z", "changed")
    wait_until(lambda: content(fleet, host, "z") == b"changed", "what is beside it")
    for name in "b/file", "b/deep/file":
        assert [version["type"] for version in fleet.versions(host, "data", f"data/{name}")] == ["file"]
    faults.end_failing()
    wait_for_the_end(fleet, host, until)
    host.stop()
