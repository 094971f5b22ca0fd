"""The main job: protect a host, lose its files, get them back."""
import json
import os
import shutil
import threading
import time

import pytest

from fleet import Fleet, now, run, tree_digest, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def make_tree(host):
    host.write("data/empty", b"")
    host.write("data/plain.txt", "hello\n")
    host.write("data/deep/er/file.json", json.dumps({"a": 1}))
    host.write("data/big.bin", os.urandom(3_000_000))
    host.write("data/runs.bin", b"\0" * 2_000_000)
    host.path("data/mode").mkdir(mode=0o750)
    host.write("data/mode/secret", "s").chmod(0o600)
    os.symlink("../plain.txt", host.path("data/deep/link"))
    os.symlink("/nowhere/at/all", host.path("data/dangling"))
    with open(os.fsencode(host.path("data")) + b"/not-utf8-\xff\xfe", "wb") as handle:
        handle.write(b"bytes")
    os.utime(host.path("data/plain.txt"), ns=(1_700_000_000_123_456_789,) * 2)


def test_a_lost_tree_comes_back_equal_in_every_byte_mode_and_time(fleet):
    host = fleet.add_host("robot-tree")
    make_tree(host)
    fleet.wait()
    before = tree_digest(host.path("data"))
    moment = now()
    time.sleep(0.05)
    shutil.rmtree(host.path("data"))
    host.path("data").mkdir()
    fleet.wait()
    fleet.restore("robot-tree:data", "--at", moment)
    assert tree_digest(host.path("data")) == before


def test_any_past_moment_of_a_checkpoint_can_be_read_and_restored(fleet):
    host = fleet.add_host("robot-moments")
    moments = []
    for i in range(5):
        host.write("data/checkpoint.json", json.dumps({"step": i}))
        fleet.wait()
        moments.append(now())
        time.sleep(0.02)
    target = host.target("data", "data/checkpoint.json")
    for i, moment in enumerate(moments):
        assert json.loads(fleet.cli("cat", target, "--at", moment)) == {"step": i}
    steps = [v["version"] for v in fleet.versions(host, "data", "data/checkpoint.json")]
    assert steps == sorted(steps, reverse=True) and len(steps) == 5
    fleet.restore(target, "--at", moments[2])
    assert json.loads(host.path("data/checkpoint.json").read_text()) == {"step": 2}


def test_a_restore_leaves_a_snapshot_of_what_it_replaced(fleet):
    host = fleet.add_host("robot-undo")
    host.write("data/f", "old")
    fleet.wait()
    moment = now()
    host.write("data/f", "new and precious")
    fleet.restore("robot-undo:data", "--at", moment)
    assert host.path("data/f").read_text() == "old"
    snapshots = fleet.json("snapshot", "list", "robot-undo")["snapshots"]
    pre = [s for s in snapshots if s["reason"] == "pre-restore"]
    assert len(pre) == 1
    fleet.restore("robot-undo:data", "--at", pre[0]["at"])
    assert host.path("data/f").read_text() == "new and precious"


def test_deleted_files_are_absent_afterwards_and_present_before(fleet):
    host = fleet.add_host("robot-delete")
    path = host.write("data/here", "x")
    fleet.wait()
    moment = now()
    path.unlink()
    fleet.wait()
    names = [e["path"] for e in fleet.json("ls", host.target("data", "data"))["entries"]]
    assert not any(name.endswith("/here") for name in names)
    names = [e["path"] for e in fleet.json("ls", host.target("data", "data"), "--at", moment)["entries"]]
    assert any(name.endswith("/here") for name in names)
    changes = fleet.json("diff", "robot-delete:data", "--from", moment)["changes"]
    assert [c["change"] for c in changes if c.get("before", {}).get("path", "").endswith("/here")] == ["removed"]


def test_only_content_that_the_host_lacks_travels(fleet):
    host = fleet.add_host("robot-lacks")
    host.write("data/kept.bin", os.urandom(2_000_000))
    host.write("data/lost.bin", os.urandom(500_000))
    fleet.wait()
    moment = now()
    host.path("data/lost.bin").unlink()
    os.utime(host.path("data/kept.bin"))
    fleet.wait()
    fleet.restore("robot-lacks:data", "--at", moment)
    job = fleet.json("jobs", "--all", "--host", "robot-lacks")["jobs"][0]
    # A block comes whole where a third of it is wanted.
    assert 400_000 < job["bytes"]["fetched"] < 500_000 * 3 + 1000 and job["bytes"]["reused"] == 2_000_000, job
    assert host.path("data/lost.bin").stat().st_size == 500_000


def test_more_files_than_fit_into_any_queue_come_back(fleet):
    """Results come faster than they are recorded: the session has to be paused, not ended."""
    count = 40_000
    host = fleet.add_host("robot-many", start=False)
    for i in range(count):
        folder = host.path(f"data/{i // 500}")
        if i % 500 == 0:
            folder.mkdir()
        (folder / f"{i}.json").touch()
    host.start()
    fleet.wait(600)
    moment = now()
    for folder in host.path("data").iterdir():
        shutil.rmtree(folder)
    output = fleet.cli("restore", "robot-many:data", "--at", moment, "--wait", timeout=600)
    assert f"{count + count // 500 + 1} of" in output, output
    found = [name for _, _, names in os.walk(host.path("data")) for name in names]
    assert len(found) == count
    assert "hanging up" not in host.output()
    host.stop()


def test_conflict_rules_replace_skip_and_rename(fleet):
    host = fleet.add_host("robot-conflict")
    host.write("data/f", "old")
    fleet.wait()
    moment = now()
    host.write("data/f", "new")
    fleet.wait()
    fleet.restore("robot-conflict:data", "--at", moment, "--on-conflict", "skip")
    assert host.path("data/f").read_text() == "new"
    fleet.restore("robot-conflict:data", "--at", moment, "--on-conflict", "rename")
    assert host.path("data/f").read_text() == "new"
    beside = [p for p in host.path("data").iterdir() if p.name.startswith("f.restored-")]
    assert len(beside) == 1 and beside[0].read_text() == "old"
    fleet.restore("robot-conflict:data", "--at", moment, "--dry-run")
    assert host.path("data/f").read_text() == "new"
    fleet.restore("robot-conflict:data", "--at", moment)
    assert host.path("data/f").read_text() == "old"


def test_a_restore_elsewhere_needs_a_root_that_the_host_allows(fleet):
    host = fleet.add_host("robot-roots", start=False)
    allowed = host.root / "allowed"
    allowed.mkdir()
    host.configure(host.source("data", restore_root=allowed))
    host.start()
    host.write("data/f", "x")
    fleet.wait()
    fleet.restore("robot-roots:data", "--to", str(allowed))
    copies = [p for p in allowed.rglob("f")]
    assert len(copies) == 1 and copies[0].read_text() == "x"
    refused = fleet.restore("robot-roots:data", "--to", str(host.root / "elsewhere"), check=False)
    assert refused.returncode == 1
    assert "restore_root" in refused.stdout + refused.stderr
    assert not (host.root / "elsewhere").exists()


def test_another_host_gets_a_restore_only_if_it_allows_it(fleet):
    origin = fleet.add_host("robot-origin")
    origin.write("data/f", "from the origin")
    closed = fleet.add_host("robot-closed")
    opened = fleet.add_host("robot-open", start=False)
    opened.configure(opened.source("data", restore_root=opened.root / "data", restore_from="*"))
    opened.start()
    fleet.wait()
    refused = fleet.restore("robot-origin:data", "--onto", "robot-closed", "--to",
                            str(closed.root / "data"), check=False)
    assert refused.returncode == 1 and "restore_from" in refused.stdout + refused.stderr
    fleet.restore("robot-origin:data", "--onto", "robot-open", "--to", str(opened.root / "data"))
    found = [p for p in (opened.root / "data").rglob("f")]
    assert [p.read_text() for p in found] == ["from the origin"]


def test_an_offline_host_gets_its_restore_when_it_returns(fleet):
    host = fleet.add_host("robot-offline")
    host.write("data/f", "precious")
    fleet.wait()
    moment = now()
    host.stop()
    host.path("data/f").unlink()
    fleet.cli("restore", "robot-offline:data", "--at", moment, "--no-wait")
    host.start()
    wait_until(lambda: host.path("data/f").exists(), "the restore")
    assert host.path("data/f").read_text() == "precious"


def test_a_download_is_a_tar_of_the_moment(fleet, tmp_path):
    host = fleet.add_host("robot-tar")
    make_tree(host)
    fleet.wait()
    fleet.cli("download", "robot-tar:data", "--output", tmp_path / "data.tar")
    run("tar", "-xpf", tmp_path / "data.tar", "-C", tmp_path)
    assert tree_digest(str(tmp_path) + str(host.path("data"))) == tree_digest(host.path("data"))


def test_own_restore_is_recorded_as_such_and_not_as_a_foreign_change(fleet):
    host = fleet.add_host("robot-own")
    host.write("data/f", "one")
    fleet.wait()
    moment = now()
    host.write("data/f", "two")
    fleet.wait()
    fleet.restore("robot-own:data", "--at", moment)
    fleet.wait()
    versions = fleet.versions(host, "data", "data/f")
    assert len(versions) == 3
    assert versions[0]["restored_by"] > 0
    assert versions[0]["content"] == versions[2]["content"]
    time.sleep(0.5)
    assert len(fleet.versions(host, "data", "data/f")) == 3


def test_what_the_service_writes_when_it_is_stopped_is_kept(fleet):
    """The hook stops the service, which writes its last state: the moment before the restore has it."""
    host = fleet.add_host("robot-hook", start=False)
    hooks = {}
    for name, line in (("stop", f"echo -n last > {host.path('data/f')}"), ("start", f"echo start >> {host.path('ran')}")):
        hooks[name] = host.directory / name
        hooks[name].write_text(f"#!/bin/sh\n{line}\n")
        hooks[name].chmod(0o700)
    host.configure(host.source("data", before_restore=hooks["stop"], after_restore=hooks["start"], debounce="500ms"))
    host.write("data/f", "one")
    host.start()
    fleet.wait()
    moment = now()
    host.write("data/f", "two")
    fleet.wait()
    fleet.restore("robot-hook:data", "--at", moment)
    assert host.path("data/f").read_text() == "one"
    assert host.path("ran").read_text() == "start\n"
    job = fleet.json("jobs", "--all", "--host", "robot-hook")["jobs"][0]
    snapshots = {s["id"]: s for s in fleet.json("snapshot", "list", "robot-hook")["snapshots"]}
    assert fleet.cli("cat", host.target("data", "data/f"), "--at", snapshots[job["snapshot"]]["at"]) == "last"
    fleet.wait()
    assert contents(fleet, host, "data", "data/f") == ["one", "last", "two", "one"]
    host.stop()


def contents(fleet, host, source, path):
    """What the versions of a file held, the newest first."""
    return [fleet.cli("cat", host.target(source, path), "--version", str(version["version"]))
            for version in fleet.versions(host, source, path)]


def write_unseen(host, relative, data):
    """Into a file of a source by a name that it has elsewhere: inotify says nothing of that."""
    name = host.directory / "elsewhere" / relative.replace("/", "-")
    name.parent.mkdir(exist_ok=True)
    if not name.exists():
        os.link(host.write(relative, data), name)
    name.write_text(data)


def test_the_moment_when_all_had_stopped_has_what_was_written_beside_the_one_file_that_comes_back(fleet):
    host = fleet.add_host("robot-beside", start=False)
    host.write("data/f", "one")
    write_unseen(host, "data/dir/beside", "one")
    hook = host.directory / "stop"
    hook.write_text(f"#!/bin/sh\necho -n last > {host.path('data/f')}\necho -n last > {host.directory}/elsewhere/data-dir-beside\n")
    hook.chmod(0o700)
    host.configure(host.source("data", before_restore=hook))
    host.start()
    fleet.wait()
    moment = now()
    host.write("data/f", "two")
    fleet.restore(host.target("data", "data/f"), "--at", moment)
    assert host.path("data/f").read_text() == "one"
    job = fleet.json("jobs", "--all", "--host", host.name)["jobs"][0]
    snapshots = {s["id"]: s for s in fleet.json("snapshot", "list", host.name)["snapshots"]}
    for name in "data/f", "data/dir/beside":
        assert fleet.cli("cat", host.target("data", name), "--at", snapshots[job["snapshot"]]["at"]) == "last", name
    host.stop()


def test_what_is_replaced_by_way_of_a_link_is_captured_before(fleet):
    """Another source that is the same directory by another name; a destination that leads into the source."""
    host = fleet.add_host("robot-alias", start=False)
    host.path("alias").symlink_to(host.path("data"))
    host.path("back").symlink_to(host.path("data/sub"))
    there = f"data/sub{host.path('data/sub/f')}"
    host.write("data/sub/f", "one")
    write_unseen(host, there, "old")
    host.configure(host.source("data", restore_root=host.path("back"), debounce="2m") +
                   host.source("alias", path=host.path("alias/sub"), debounce="2m"))
    host.start()
    fleet.wait()
    moment = now()
    host.write("data/sub/f", "two")
    for source, path in ("data", "data/sub/f"), ("alias", "alias/sub/f"):
        wait_until(lambda: contents(fleet, host, source, path)[0] == "two", f"the change in {source}")
    host.write("data/sub/f", "three")  # so soon after the other that it waits
    fleet.restore("robot-alias:data", "--at", moment)
    assert host.path("data/sub/f").read_text() == "one"
    wait_until(lambda: contents(fleet, host, "alias", "alias/sub/f") == ["one", "three", "two", "one"],
               "all that the file was, by its other name")
    write_unseen(host, there, "unseen")
    fleet.restore(host.target("data", "data/sub/f"), "--at", moment, "--to", host.path("back"))
    assert host.path(there).read_text() == "one"
    wait_until(lambda: contents(fleet, host, "data", there) == ["one", "unseen", "old"],
               "all that the file at the destination was")
    host.stop()


def test_what_is_written_right_after_a_restore_put_the_file_there_is_captured(fleet):
    """Capture is busy with a large file when the restored one is changed: it must not take it for what was restored."""
    host = fleet.add_host("robot-eager", start=False)
    hook = host.directory / "hook"
    hook.write_text(f"#!/bin/sh\nhead -c 200000000 /dev/urandom > {host.path('large/image')}\n")
    hook.chmod(0o700)
    host.path("large").mkdir()
    host.configure(host.source("data", before_restore=hook) + host.source("large", class_="workflows"))
    host.write("data/f", "one")
    host.start()
    fleet.wait()
    moment = now()
    host.write("data/f", "two")
    fleet.wait()

    def write_at_once():
        wait_until(lambda: host.path("data/f").read_text() == "one", "the restored file", pause=0.0001)
        host.write("data/f", "new")

    writer = threading.Thread(target=write_at_once)
    writer.start()
    fleet.restore("robot-eager:data", "--at", moment)
    writer.join()
    fleet.wait()
    assert fleet.cli("cat", host.target("data", "data/f")) == "new"
    host.stop()


def test_a_link_that_somebody_keeps_planting_leads_nowhere(fleet):
    """The user of the robot swaps a directory for a link and back, as fast as can be, during restores."""
    host = fleet.add_host("robot-swap")
    outside = host.directory / "outside"
    outside.mkdir()
    for i in range(1500):
        host.write(f"data/sub/{i}", f"content {i}")
    fleet.wait()
    before = tree_digest(host.path("data"))
    moment = now()
    sub, aside = host.path("data/sub"), host.path("data/aside")
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            try:
                if sub.is_symlink():
                    sub.unlink()
                    aside.rename(sub)
                else:
                    sub.rename(aside)
                    sub.symlink_to(outside)
            except OSError:
                pass

    for _ in range(3):
        for path in list(sub.iterdir()):
            path.unlink()
        swapper = threading.Thread(target=swap)
        ended.clear()
        swapper.start()
        fleet.restore("robot-swap:data", "--at", moment, check=False)
        ended.set()
        swapper.join()
        assert list(outside.iterdir()) == [], "a restore wrote through a link"
        if sub.is_symlink():
            sub.unlink()
        if aside.exists():
            shutil.rmtree(sub, ignore_errors=True)
            aside.rename(sub)
    fleet.restore("robot-swap:data", "--at", moment)
    shutil.rmtree(aside, ignore_errors=True)
    assert tree_digest(host.path("data")) == before
