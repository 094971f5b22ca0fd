"""A full disk: nothing is acknowledged that isn't durable, everybody is told, and work goes on by
itself when there is room again.

The full disk is a small tmpfs in a mount namespace of the process under test, gone with it.
"""
import os
import subprocess
import urllib.error

import pytest

from fleet import Fleet, now, tree_digest, wait_until
from mount_namespace import begin_with, can_mount, inside

pytestmark = pytest.mark.skipif(not can_mount(), reason="mount namespaces are not allowed here")


def on_small_disk(process, directory, size):
    """Let the process see `directory`, with what is in it, on a disk of that size."""
    begin_with(process, 'kept=$(mktemp -d); cp -a "$1/." "$kept"; mount -t tmpfs -o size=$2,mode=0700 none "$1"; '
               'cp -a "$kept/." "$1"; rm -rf "$kept"', directory, size)


def resize(process, directory, size):
    inside(process, "mount", "-o", f"remount,size={size}", directory)


def ready(fleet):
    try:
        return "true" in fleet.get("/ready")
    except urllib.error.HTTPError as error:
        assert error.code == 503
        reason = error.read().decode()
        assert "space" in reason.lower() or "room" in reason.lower(), reason
        return False


def test_a_collector_without_room_acknowledges_nothing_says_so_and_goes_on_when_there_is_some():
    fleet = Fleet()
    repository = fleet.collector.directory / "repository"
    on_small_disk(fleet.collector, repository, "24m")
    with fleet:
        host = fleet.add_host("robot-full")
        host.write("data/before", "safe\n")
        fleet.wait()
        assert ready(fleet)
        for i in range(40):
            host.write(f"data/much-{i}", os.urandom(1_000_000))
        wait_until(lambda: not ready(fleet), "the collector to be out of room")
        assert fleet.metrics()["holdfast_repository_writable"] == 0
        status = fleet.cli("status", check=False)
        assert "space" in (status.stdout + status.stderr).lower(), status
        assert "space" in fleet.collector.output().lower()
        # What it acknowledged it has, and what it can't take is not called protected.
        held = fleet.json("ls", host.target("data", "data"), "--recursive")["entries"]
        late = fleet.cli("wait", "robot-full", "--timeout", "1s", check=False)
        assert late.returncode != 0 and len(held) < 42
        for entry in held:
            if entry["type"] == "file" and "much" in entry["path"]:
                content = fleet.cli("cat", host.target("data", "data/" + entry["path"].rsplit("/", 1)[1]), text=False)
                assert content == host.path("data/" + entry["path"].rsplit("/", 1)[1]).read_bytes()
        resize(fleet.collector, repository, "200m")
        wait_until(lambda: ready(fleet), "the collector to notice that there is room")
        fleet.wait()
        assert len(fleet.versions(host, "data", "data/before")) == 1
        for i in range(40):
            assert len(fleet.versions(host, "data", f"data/much-{i}")) == 1
        copy = fleet.directory / "copy"
        copy.mkdir()
        fleet.cli("download", "robot-full:data", "--output", fleet.directory / "all.tar")
        subprocess.run(["tar", "-xpf", fleet.directory / "all.tar", "-C", copy], check=True)
        assert tree_digest(str(copy) + str(host.path("data"))) == tree_digest(host.path("data"))


def test_an_agent_whose_state_has_no_room_protects_what_it_can_and_all_when_there_is_some():
    with Fleet() as fleet:
        host = fleet.add_host("robot-state", start=False)
        state = host.directory / "state"
        on_small_disk(host, state, "1m")
        for i in range(3000):
            host.write(f"data/{i % 20}/a-name-that-takes-some-room-in-the-state-{i}", str(i))
        host.start()
        wait_until(lambda: "full" in host.output().lower() or "space" in host.output().lower(),
                   "the agent to say that its disk is full")
        assert host.running()
        resize(host, state, "100m")
        fleet.wait(120)
        entries = fleet.json("ls", "robot-state:data", "--recursive")["entries"]
        assert sum(entry["type"] == "file" for entry in entries) == 3000


def test_a_restore_without_room_changes_nothing_and_says_what_is_missing():
    with Fleet() as fleet:
        host = fleet.add_host("robot-target", start=False)
        data = host.path("data")
        on_small_disk(host, data, "40m")
        host.start()
        inside(host, "sh", "-c", f"head -c 30000000 /dev/urandom > {data}/large; echo kept > {data}/small")
        fleet.wait()
        first = now()
        inside(host, "sh", "-c", f"rm {data}/large; head -c 25000000 /dev/urandom > {data}/other; echo new > {data}/small")
        fleet.wait()
        result = fleet.restore("robot-target:data", "--at", first, check=False)
        assert result.returncode != 0
        assert "room" in (result.stdout + result.stderr) or "space" in (result.stdout + result.stderr), result
        assert inside(host, "cat", f"{data}/small") == "new\n"
        assert inside(host, "sh", "-c", f"ls -A {data}").split() == ["other", "small"]
