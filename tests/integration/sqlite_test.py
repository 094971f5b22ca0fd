"""Databases in use: what is captured of them while others write, what is left alone, what comes back.

Every writer keeps, in each of its transactions, the sum of two accounts and counts up; so every state
of a database that ever was is known by its count, and no other state keeps the sum."""
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import time

import pytest

from fleet import Fleet, now, wait_until

TOTAL = 1_000_000

WRITER = """
import os, random, sqlite3, sys, time
path, mode, pause, ballast = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, isolation_level=None, timeout=20)
assert db.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode
db.execute("PRAGMA synchronous = NORMAL")
if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'account'").fetchone():
    db.execute("BEGIN")
    db.execute("CREATE TABLE account (name TEXT PRIMARY KEY, amount INTEGER)")
    db.execute("CREATE TABLE counter (count INTEGER)")
    db.execute("CREATE TABLE ballast (id INTEGER PRIMARY KEY, data BLOB)")
    db.execute("INSERT INTO account VALUES ('a', 1000000), ('b', 0)")
    db.execute("INSERT INTO counter VALUES (0)")
    for i in range(ballast):
        db.execute("INSERT INTO ballast VALUES (?, ?)", (i, os.urandom(3000)))
    db.execute("COMMIT")
print("ready", flush=True)
longest = 0
while True:
    amount = random.randrange(-5000, 5000)
    began = time.monotonic()
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE account SET amount = amount - ? WHERE name = 'a'", (amount,))
    if ballast:
        db.execute("UPDATE ballast SET data = ? WHERE id = ?", (os.urandom(3000), random.randrange(ballast)))
    db.execute("UPDATE account SET amount = amount + ? WHERE name = 'b'", (amount,))
    db.execute("UPDATE counter SET count = count + 1")
    db.execute("COMMIT")
    longest = max(longest, time.monotonic() - began)
    if os.path.exists(path + ".stop"):
        break
    time.sleep(pause)
print(db.execute("SELECT count FROM counter").fetchone()[0], longest, flush=True)
if os.path.exists(path + ".stay"):
    time.sleep(3600)
db.close()
"""


class Writer:
    """Commits without end, in a process of its own, until it is told to stop or killed."""

    def __init__(self, path, mode, pause=0.003, ballast=0, user=None):
        self.path = pathlib.Path(path)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), mode, str(pause), str(ballast)],
            stdout=subprocess.PIPE, text=True, user=user, group=user, extra_groups=[] if user else None)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self, stay=False):
        """What it counted; stay: it keeps the database open."""
        stay_file, stop_file = pathlib.Path(f"{self.path}.stay"), pathlib.Path(f"{self.path}.stop")
        if stay:
            stay_file.touch()
        stop_file.touch()
        count = int(self.process.stdout.readline().split()[0])
        if not stay:
            assert self.process.wait() == 0
        stop_file.unlink()
        return count

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for suffix in (".stay", ".stop"):
            pathlib.Path(str(self.path) + suffix).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def protected(fleet, name, **keys):
    """A host whose source `data` has databases, *.db."""
    host = fleet.add_host(name, start=False)
    host.configure(host.source("data", kind_="sqlite", class_="database", **dict({"include": "*.db", "rescan": "1h"}, **keys)))
    return host


def contents(fleet, host, relative):
    """Of every version, oldest first, with what the collector says of it."""
    versions = fleet.json("versions", host.target("data", relative), "--limit", "0")["versions"]
    for version in reversed(versions):
        if version["type"] == "file":
            yield version, fleet.cli("cat", host.target("data", relative), "--version",
                                     str(version["version"]), text=False)


def state_of(path):
    """The count, of a sound database that keeps the sum."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT sum(amount) FROM account").fetchone() == (TOTAL,)
        return db.execute("SELECT count FROM counter").fetchone()[0]
    finally:
        db.close()


def count_in(content, tmp_path):
    path = tmp_path / "captured.db"
    for leftover in tmp_path.glob("captured.db*"):
        leftover.unlink()
    path.write_bytes(content)
    return state_of(path)


def beside(directory):
    """All that is in a directory and how it is, without what SQLite's own users change by reading."""
    return {entry.name: (entry.stat().st_uid, entry.stat().st_gid, entry.stat().st_mode, entry.stat().st_ino,
                         entry.stat().st_size, entry.stat().st_mtime_ns, entry.stat().st_ctime_ns)
            for entry in os.scandir(directory)}


def newest(fleet, host, relative):
    result = fleet.cli("cat", host.target("data", relative), check=False, text=False)
    return result.stdout if result.returncode == 0 else b""


def readers(pid):
    """The processes that make backups for an agent."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and b"sqlite-reader" in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                status = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                if int(status[1]) == pid and status[0] != "Z":
                    found.append(int(entry))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_every_version_of_a_database_in_use_is_a_state_that_it_had(fleet, tmp_path, mode):
    host = protected(fleet, f"robot-{mode}", debounce="50ms")
    path = host.path("data/state.db")
    with Writer(path, mode, ballast=600) as writer:
        host.start()
        wait_until(lambda: len(fleet.json("versions", host.target("data", "data/state.db"))["versions"]) >= 8
                   if newest(fleet, host, "data/state.db") else False, "versions")
        counted = writer.stop()
    fleet.wait()
    wait_until(lambda: count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted, "the last state")
    counts = []
    for version, content in contents(fleet, host, "data/state.db"):
        assert version["database"] is True and "unparsable" not in version
        assert version["size"] == len(content) and version["path"].endswith("data/state.db")
        counts.append(count_in(content, tmp_path))
    assert counts == sorted(set(counts)), "each is a later state than the one before"
    assert counts[-1] == counted
    entries = fleet.json("ls", host.target("data"), "--recursive")["entries"]
    assert not [entry for entry in entries if entry["path"].endswith(("-wal", "-shm", "-journal", ".stop"))]
    source = [s for s in fleet.json("sources")["sources"] if s["host_name"] == host.name][0]
    assert source["kind"] == "sqlite" and source["state"] == "watching", source


def test_a_source_that_names_one_database_hears_of_its_wal(fleet, tmp_path):
    host = fleet.add_host("robot-one", start=False)
    path = host.path("data/state.db")
    host.configure(host.source("data", path=path, kind_="sqlite", class_="database", rescan="1h", debounce="50ms"))
    with Writer(path, "wal") as writer:
        host.start()
        wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
        counted = writer.stop(stay=True)
        wait_until(lambda: count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted, "the last state")
        fleet.wait()
    entries = fleet.json("ls", host.target("data"), "--recursive")["entries"]
    assert [entry["path"].rsplit("/", 1)[1] for entry in entries if entry["type"] == "file"] == ["state.db"]


def test_what_has_the_same_content_is_no_new_version(fleet):
    host = protected(fleet, "robot-same")
    path = host.path("data/state.db")
    with Writer(path, "wal") as writer:
        host.start()
        writer.stop()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    fleet.wait()
    before = fleet.versions(host, "data", "data/state.db")
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    os.utime(path)
    fleet.wait()
    assert fleet.versions(host, "data", "data/state.db") == before
    path.chmod(0o600)
    fleet.wait()
    after = fleet.versions(host, "data", "data/state.db")
    assert len(after) == len(before) + 1 and after[0]["content"] == before[0]["content"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users' databases")
def test_root_leaves_another_users_database_and_what_lies_beside_it_alone(fleet, tmp_path):
    host = protected(fleet, "robot-owner", debounce="20ms")
    directory = host.path("data")
    path = directory / "state.db"
    host.directory.chmod(0o755)
    for above in (fleet.directory, host.root):
        above.chmod(0o755)
    os.chown(directory, 54321, 54321)
    directory.chmod(0o700)
    with Writer(path, "wal", user=54321) as writer:
        host.start()
        counted = writer.stop(stay=True)
        wait_until(lambda: newest(fleet, host, "data/state.db") and
                   count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted, "the last state")
        before = beside(directory)
        fleet.wait()
        assert set(before) == {"state.db", "state.db-wal", "state.db-shm", "state.db.stay"}
        assert {entry[0] for name, entry in before.items() if name.startswith("state.db-")} == {54321}
        assert beside(directory) == before
        assert fleet.versions(host, "data", "data/state.db")[0]["uid"] == 54321
    fleet.directory.chmod(0o700)


def test_nothing_is_made_beside_a_database_that_nobody_uses(fleet, tmp_path):
    host = protected(fleet, "robot-quiet")
    with Writer(host.path("data/clean.db"), "wal") as writer:
        clean = writer.stop()
    with Writer(host.path("data/left.db"), "wal") as writer:
        time.sleep(0.2)
    with Writer(host.path("data/bare.db"), "wal") as writer:
        time.sleep(0.2)
    host.path("data/bare.db-shm").unlink()
    assert host.path("data/left.db-wal").stat().st_size > 0
    before = beside(host.path("data"))
    assert set(before) == {"clean.db", "left.db", "left.db-wal", "left.db-shm", "bare.db", "bare.db-wal"}
    host.path("data").chmod(0o500)
    try:
        host.start()
        fleet.wait()
        wait_until(lambda: all(newest(fleet, host, f"data/{name}.db") for name in ("clean", "left", "bare")), "all")
        assert beside(host.path("data")) == before
    finally:
        host.path("data").chmod(0o700)
    assert count_in(newest(fleet, host, "data/clean.db"), tmp_path) == clean
    for name in ("left", "bare"):
        captured = count_in(newest(fleet, host, f"data/{name}.db"), tmp_path)
        assert captured == state_of(host.path(f"data/{name}.db")) > 0


def test_what_a_killed_writer_left_half_written_is_captured_as_it_was_before(fleet, tmp_path):
    host = protected(fleet, "robot-hot")
    path = host.path("data/state.db")
    with Writer(path, "delete", ballast=500) as writer:
        counted = writer.stop()
    script = ("import sqlite3, sys, time\n"
              "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
              "db.execute('PRAGMA cache_size = 5')\n"
              "db.execute('BEGIN IMMEDIATE')\n"
              "db.execute('UPDATE account SET amount = 7')\n"
              "db.execute('UPDATE ballast SET data = zeroblob(3000)')\n"
              "print('spilled', flush=True)\n"
              "time.sleep(3600)\n")
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "spilled\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert host.path("data/state.db-journal").stat().st_size > 0
    before = beside(host.path("data"))
    host.start()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    assert beside(host.path("data")) == before
    assert count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted
    assert state_of(path) == counted, "SQLite itself comes to the same"


def test_an_agent_that_is_killed_in_a_backup_leaves_nothing_and_goes_on(fleet, tmp_path):
    host = protected(fleet, "robot-killed", debounce="10ms")
    path = host.path("data/state.db")
    state = host.directory / "state"
    with Writer(path, "wal", pause=0.001, ballast=20000) as writer:
        for _ in range(3):
            host.start()
            found = wait_until(lambda: readers(host.pid), "a backup", pause=0.001)
            host.kill()
            wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in found), "its reader to end")
            kept = {entry.name: entry.stat().st_size for entry in state.iterdir()}
            assert not [name for name in kept if "backup" in name], kept
            assert all(size < path.stat().st_size // 4 for name, size in kept.items() if "spool" not in name), kept
        (state / "sqlite-backup.leftX").write_text("of an agent on a file system that wants names")
        host.start()
        counted = writer.stop()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    fleet.wait()
    wait_until(lambda: count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted, "the last state")
    assert not (state / "sqlite-backup.leftX").exists()
    assert not [entry for entry in path.parent.iterdir() if not entry.name.startswith("state.db")]


@pytest.mark.parametrize("user", ["live", "killed"])
def test_a_restore_gives_a_sound_database_whatever_lies_beside_the_one_there(fleet, user):
    host = protected(fleet, f"robot-back-{user}", debounce="20ms")
    path = host.path("data/state.db")
    with Writer(path, "wal", ballast=200) as writer:
        host.start()
        first = writer.stop()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    fleet.wait()
    moment = now()
    with Writer(path, "wal", pause=0) as writer:
        time.sleep(1)
        if user == "live":
            last = writer.stop(stay=True)
        else:
            writer.kill()
            last = None
        assert pathlib.Path(f"{path}-wal").stat().st_size > 0
        result = fleet.restore(host.target("data"), "--at", moment)
        assert state_of(path) == first
        if user == "live":
            job = re.search(r"[Jj]ob (\d+)", result).group(1)
            assert "restart it" in fleet.cli("job", "show", job)
    assert not [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".holdfast")]
    snapshots = fleet.json("snapshot", "list", host.name)["snapshots"]
    undo = [snapshot for snapshot in snapshots if snapshot["reason"] == "pre-restore"]
    fleet.restore(host.target("data"), "--at", undo[0]["at"])
    assert state_of(path) == last if last else state_of(path) > first


def test_what_a_service_commits_as_soon_as_its_database_is_back_is_captured(fleet, tmp_path):
    path_of_service = tmp_path / "service"
    host = protected(fleet, "robot-hasty", debounce="20ms", after_restore=path_of_service)
    path = host.path("data/state.db")
    # It ends as if it were killed: what it has committed is in the -wal alone.
    path_of_service.write_text(f"""#!/usr/bin/python3
import os, sqlite3
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("UPDATE counter SET count = count + 1000")
os._exit(0)
""")
    path_of_service.chmod(0o755)
    with Writer(path, "wal") as writer:
        host.start()
        first = writer.stop()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    fleet.wait()
    moment = now()
    path.unlink()
    fleet.restore(host.target("data"), "--at", moment)
    assert pathlib.Path(f"{path}-wal").stat().st_size > 0
    fleet.wait()
    assert count_in(newest(fleet, host, "data/state.db"), tmp_path) == first + 1000


def test_what_sqlite_cannot_back_up_is_captured_as_it_is_flagged_and_noted(fleet, tmp_path):
    host = protected(fleet, "robot-odd", rescan="2s")
    with Writer(host.path("data/sound.db"), "delete", ballast=50) as writer:
        writer.stop()
    sound = host.path("data/sound.db").read_bytes()
    garbled = bytearray(sound)
    garbled[8192:12288] = os.urandom(4096)
    odd = {"text.db": b"no database at all\n" * 50, "encrypted.db": os.urandom(8192), "empty.db": b"",
           "cut.db": sound[:len(sound) // 2], "short.db": sound[:60]}
    for name, content in odd.items():
        host.write(f"data/{name}", content)
    host.write("data/garbled.db", bytes(garbled))
    (host.path("data/link.db")).symlink_to("sound.db")
    host.start()
    wait_until(lambda: newest(fleet, host, "data/sound.db"), "the sound one")
    names = {entry["path"].rsplit("/", 1)[1] for entry in fleet.json("ls", host.target("data", "data"))["entries"]}
    assert names == {"sound.db", "link.db"}, "the others may still be written"
    for name, content in odd.items():
        wait_until(lambda: fleet.cli("cat", host.target("data", f"data/{name}"), check=False,
                                     text=False).returncode == 0, name, 120)
        version = fleet.versions(host, "data", f"data/{name}")[0]
        assert version["unparsable"] is True and "database" not in version
        assert newest(fleet, host, f"data/{name}") == content
    version = fleet.versions(host, "data", "data/garbled.db")[0]
    assert version["unparsable"] is True and version["database"] is True
    assert newest(fleet, host, "data/garbled.db")[8192:12288] == garbled[8192:12288]
    fleet.wait()
    source = [s for s in fleet.json("sources")["sources"] if s["host_name"] == host.name][0]
    assert source["state"] == "watching", source
    assert re.search(r"/(text|encrypted|empty|cut|short|garbled)\.db is (captured as it is|no|empty|a d|damaged)",
                     source["note"]), source["note"]
    log = host.output()
    for reason in ("is empty", "no SQLite database, or an encrypted one", "is damaged, says SQLite"):
        assert reason in log, reason
    host.write("data/text.db", sound)
    wait_until(lambda: "unparsable" not in fleet.versions(host, "data", "data/text.db")[0], "a database")


def test_a_database_that_is_kept_locked_is_said_to_be_and_taken_when_it_is_free(fleet, tmp_path):
    host = protected(fleet, "robot-locked", debounce="20ms")
    path = host.path("data/state.db")
    with Writer(path, "delete") as writer:
        counted = writer.stop()
    host.start()
    wait_until(lambda: newest(fleet, host, "data/state.db"), "a version")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        os.utime(path)
        wait_until(lambda: any(s["host_name"] == host.name and s["state"] == "failing" and "locked" in s["note"]
                               for s in fleet.json("sources")["sources"]), "the note")
        assert len(fleet.versions(host, "data", "data/state.db")) == 1, "what may be half written is not copied"
        assert count_in(newest(fleet, host, "data/state.db"), tmp_path) == counted
        db.execute("UPDATE counter SET count = 424242")
        db.execute("COMMIT")
    finally:
        db.close()
    wait_until(lambda: count_in(newest(fleet, host, "data/state.db"), tmp_path) == 424242, "the change", 120)


def test_a_link_in_the_place_of_a_database_or_its_wal_shows_nothing_of_where_it_leads(fleet, tmp_path):
    host = protected(fleet, "robot-links", debounce="10ms")
    secret = host.directory / "secret"
    secret.mkdir()
    with Writer(secret / "state.db", "wal") as writer:
        time.sleep(0.3)
    before = beside(secret)
    path = host.path("data/sub/state.db")
    path.parent.mkdir()
    with Writer(path, "wal") as writer:
        counted = writer.stop()
    os.symlink(secret / "state.db-wal", f"{path}-wal")
    os.symlink(secret / "state.db-shm", f"{path}-shm")
    host.start()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        path.parent.rename(host.path("data/aside"))
        path.parent.symlink_to(secret)
        os.utime(host.path("data/aside/state.db"))
        time.sleep(0.01)
        path.parent.unlink()
        host.path("data/aside").rename(path.parent)
        os.utime(path)
        time.sleep(0.03)
    fleet.wait()
    wait_until(lambda: newest(fleet, host, "data/sub/state.db"), "a version", 120)
    assert beside(secret) == before
    for version, content in contents(fleet, host, "data/sub/state.db"):
        assert count_in(content, tmp_path) == counted
