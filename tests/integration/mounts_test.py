"""What is mounted in a source: another file system, a directory above it once more."""
import os
import time

import pytest

from fleet import Fleet, wait_until
from mount_namespace import begin_with, can_mount, inside

pytestmark = pytest.mark.skipif(not can_mount(), reason="mount namespaces are not allowed here")


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def paths(fleet, host):
    """What is on record now, beneath data."""
    entries = fleet.json("ls", host.target("data", "data"), "--recursive")["entries"]
    top = str(host.path("data")) + "/"
    found = ["/" + entry["path"].lstrip("/") for entry in entries]
    return sorted(path.removeprefix(top) for path in found if path.startswith(top))


def note_of(fleet, host):
    return [source["note"] for source in fleet.json("sources")["sources"] if source["host_name"] == host.name][0]


def add_host(fleet, name, script, **keys):
    host = fleet.add_host(name, start=False)
    host.configure(host.source("data", **dict({"rescan": "1h", "verify": "1h"}, **keys)))
    host.write("data/dir/here", "on the source's own file system")
    host.path("data/dir/mnt").mkdir()
    begin_with(host, script, host.path("data"))
    host.start()
    return host


TMPFS = 'mount -t tmpfs none "$1/dir/mnt"; mkdir "$1/dir/mnt/sub"; echo there > "$1/dir/mnt/sub/there"'


def test_other_file_systems_belong_to_a_source_unless_it_says_otherwise(fleet):
    host = add_host(fleet, "all", TMPFS)
    fleet.wait()
    assert "dir/mnt/sub/there" in paths(fleet, host)


def test_with_one_file_system_what_is_mounted_is_left_out_and_said(fleet):
    host = add_host(fleet, "one", TMPFS, one_file_system="yes")
    fleet.wait()
    assert paths(fleet, host) == ["dir", "dir/here", "dir/mnt"]
    wait_until(lambda: "one_file_system" in note_of(fleet, host), "the note of it")
    # Nor does what happens in it come in.
    inside(host, "sh", "-c", f"echo new > {host.path('data/dir/mnt/new')}; echo more >> {host.path('data/dir/mnt/sub/there')}")
    host.write("data/dir/mark", "of this moment")
    wait_until(lambda: "dir/mark" in paths(fleet, host), "what came afterwards")
    fleet.wait()
    assert paths(fleet, host) == ["dir", "dir/here", "dir/mark", "dir/mnt"]


def test_what_is_covered_by_a_mount_is_gone_and_comes_back_with_it(fleet):
    host = add_host(fleet, "covered", "true", one_file_system="yes")
    host.write("data/dir/mnt/under/file", "beneath the mount point")
    fleet.wait()
    assert "dir/mnt/under/file" in paths(fleet, host)
    inside(host, "mount", "-t", "tmpfs", "none", host.path("data/dir/mnt"))
    wait_until(lambda: paths(fleet, host) == ["dir", "dir/here", "dir/mnt"], "a scan that finds the mount")
    inside(host, "umount", host.path("data/dir/mnt"))
    wait_until(lambda: "dir/mnt/under/file" in paths(fleet, host), "a scan that finds it gone")


@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_a_directory_mounted_within_itself_has_an_end(fleet, kind):
    host = add_host(fleet, f"loop-{kind}", f'mount --{kind} "$1" "$1/dir/mnt"', verify="500ms")
    fleet.wait()
    assert paths(fleet, host) == ["dir", "dir/here", "dir/mnt"]
    wait_until(lambda: "mounted there again" in note_of(fleet, host), "the note of it")
    host.write("data/dir/later", "seen once")
    fleet.wait()
    time.sleep(0.6)
    fleet.wait()
    assert paths(fleet, host) == ["dir", "dir/here", "dir/later", "dir/mnt"]
    assert len(fleet.versions(host, "data", "data/dir/here")) == 1


def test_another_directory_that_is_mounted_is_part_of_the_tree(fleet):
    host = fleet.add_host("bound", start=False)
    host.configure(host.source("data"))
    host.write("data/dir/mnt/covered", "c")
    other = host.directory / "other"
    other.mkdir()
    (other / "file").write_text("of another place")
    begin_with(host, 'mount --bind "$2" "$1/dir/mnt"', host.path("data"), other)
    host.start()
    fleet.wait()
    assert paths(fleet, host) == ["dir", "dir/mnt", "dir/mnt/file"]
    (other / "file").write_text("changed by its other path")
    wait_until(lambda: len(fleet.versions(host, "data", "data/dir/mnt/file")) == 2, "the change")
    assert os.path.exists(host.path("data/dir/mnt/covered"))
