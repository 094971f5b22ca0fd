"""What an agent notices, reads and records, and what it leaves alone. Periodic scans are an hour away,
unless a test is about them: what is seen is seen by inotify."""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from fleet import AGENT, Fleet, run, tree_digest, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def watched(fleet, name, **keys):
    host = fleet.add_host(name, start=False)
    host.configure(host.source("data", **dict({"rescan": "1h"}, **keys)))
    host.start()
    fleet.wait()
    return host


def held(fleet, host):
    """Paths beneath data/ that are alive on the collector."""
    entries = fleet.json("ls", host.target("data"), "--recursive")["entries"]
    prefix = str(host.path("data")).lstrip("/") + "/"
    return {entry["path"][len(prefix):]: entry for entry in entries if entry["path"].startswith(prefix)}


def held_versions(fleet, host, relative):
    """Of a path of which there may be none yet."""
    result = fleet.cli("versions", host.target("data", relative), "--json", check=False)
    return json.loads(result.stdout)["versions"] if result.returncode == 0 else []


def settle(fleet, host, relative):
    """Until what was done to that path is on record: mark it, and wait for the mark's file."""
    host.write("data/zz-mark", str(time.time_ns()))
    fleet.wait()
    return fleet.versions(host, "data", relative)


def test_a_burst_of_writes_is_few_versions_and_the_last_is_what_is_there(fleet):
    host = watched(fleet, "robot-burst", debounce="500ms")
    begin = time.monotonic()
    for i in range(200):
        host.write("data/checkpoint.json", json.dumps({"step": i}))
        time.sleep(0.005)
    time.sleep(0.6)
    intervals = int((time.monotonic() - begin) / 0.5)
    versions = settle(fleet, host, "data/checkpoint.json")
    assert 1 <= len(versions) <= intervals + 3, "one a debounce interval at most, and its begin and end"
    assert json.loads(fleet.cli("cat", host.target("data", "data/checkpoint.json"))) == {"step": 199}


def test_no_version_is_torn_however_a_writer_writes(fleet):
    """A file that is rewritten in place all the time: each state of it is one letter throughout."""
    host = watched(fleet, "robot-torn", debounce="10ms")
    path = host.write("data/state", b"a" * 2_000_000)
    ended = threading.Event()

    def writer():
        dice = random.Random(3)
        begin = time.monotonic()
        with open(path, "r+b", buffering=0) as handle:
            while not ended.is_set():
                letter = bytes([dice.randrange(97, 123)])
                handle.seek(0)
                for _ in range(20):
                    handle.write(letter * 100_000)
                handle.flush()
                if dice.random() < 0.5:  # a pause, in which it can be read, also where that takes longer
                    time.sleep(0.2 + (time.monotonic() - begin) / 10)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        time.sleep(4)
        wait_until(lambda: len(held_versions(fleet, host, "data/state")) >= 2, "a state in between")
    finally:
        ended.set()
        thread.join()
    versions = settle(fleet, host, "data/state")
    for version in versions:
        content = fleet.cli("cat", host.target("data", "data/state"), "--version", str(version["version"]), text=False)
        assert len(content) == 2_000_000 and len(set(content)) == 1
    assert fleet.cli("cat", host.target("data", "data/state"), text=False) == path.read_bytes()


def read_bytes(pid):
    with open(f"/proc/{pid}/io") as counters:
        return int(next(line for line in counters if line.startswith("rchar")).split()[1])


def test_what_did_not_change_is_not_read_again(fleet):
    host = fleet.add_host("robot-unread", start=False)
    host.configure(host.source("data", verify="200ms"))
    for i in range(40):
        host.write(f"data/{i}", os.urandom(1_000_000))
    host.start()
    fleet.wait()
    before = read_bytes(host.pid)
    time.sleep(2)  # ten scans
    host.write("data/one", "more")
    fleet.wait()
    assert read_bytes(host.pid) - before < 2_000_000
    host.stop()
    host.start()  # and a restart remembers
    fleet.wait()
    assert read_bytes(host.pid) < 4_000_000
    host.stop()


def test_everything_that_can_happen_to_a_name_is_recorded(fleet):
    host = watched(fleet, "robot-names")
    data = host.path("data")
    for name in ("old", "gone", "over", "kind"):
        host.write(f"data/{name}", name)
    (data / "folder").mkdir()
    host.write("data/folder/inside", "x")
    fleet.wait()
    (data / "old").rename(data / "new")
    (data / "gone").unlink()
    host.write("data/.new-over", "another")
    (data / ".new-over").rename(data / "over")
    (data / "kind").unlink()
    (data / "kind").mkdir()
    shutil.move(data / "folder", host.root / "elsewhere")
    os.symlink("new", data / "link")
    os.mkfifo(data / "pipe")
    with open(os.fsencode(data) + b"/caf\xe9", "wb") as handle:
        handle.write(b"latin")
    host.write("data/empty", b"")
    (data / "secret").touch(mode=0o600)
    os.chmod(data / "secret", 0o640)
    os.utime(data / "secret", ns=(1, 1_600_000_000_987_654_321))
    settle(fleet, host, "data/new")
    names = held(fleet, host)
    assert {"new", "over", "kind", "link", "empty", "secret"} <= set(names)
    assert not {"old", "gone", "folder", "folder/inside", "pipe"} & set(names)
    assert names["kind"]["type"] == "directory"
    assert names["link"]["target"] == "new"
    assert names["secret"]["mtime"].startswith("2020-09-13T12:26:40.987654321")
    assert len(names) == len(list(data.iterdir())) - 1  # but for the pipe
    assert fleet.cli("cat", host.target("data", "data/over")) == "another"
    assert len(fleet.versions(host, "data", "data/gone")) == 2  # a deletion is a version


def test_files_in_folders_that_are_being_made_are_not_missed(fleet):
    host = watched(fleet, "robot-race")
    for i in range(60):
        folder = host.path(f"data/{i}/a/b/c")
        folder.mkdir(parents=True)
        (folder / "deep").write_text(str(i))
        (folder.parent / "mid").write_text(str(i))
    settle(fleet, host, "data/0/a/b/c/deep")
    assert sum(1 for path in held(fleet, host) if path.endswith(("deep", "mid"))) == 120


def test_what_is_written_to_a_file_that_stays_open_is_on_record(fleet):
    host = watched(fleet, "robot-open", debounce="100ms")
    with open(host.path("data/run.log"), "ab", buffering=0) as log:
        for i in range(5):
            log.write(b"line %d\n" % i)
            fleet.wait()
            assert fleet.cli("cat", host.target("data", "data/run.log")).endswith(f"line {i}\n")


def test_a_large_log_that_never_stands_still_is_on_record_as_far_as_it_was(fleet):
    host = watched(fleet, "robot-hot", debounce="100ms")
    path = host.write("data/hot.log", os.urandom(20_000_000))
    ended = threading.Event()

    def writer():
        with open(path, "ab", buffering=0) as log:
            while not ended.is_set():
                log.write(os.urandom(100))
                time.sleep(0.0005)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        time.sleep(0.2)
        size = path.stat().st_size
        fleet.wait(180)
        content = fleet.cli("cat", host.target("data", "data/hot.log"), text=False)
    finally:
        ended.set()
        thread.join()
    assert len(content) >= size
    assert path.read_bytes().startswith(content)
    fleet.wait()
    assert fleet.cli("cat", host.target("data", "data/hot.log"), text=False) == path.read_bytes()


def test_more_events_than_inotify_can_hold_are_made_up_by_a_scan(fleet):
    host = watched(fleet, "robot-overflow")
    os.kill(host.pid, signal.SIGSTOP)
    try:
        for i in range(20):
            host.path(f"data/{i}").mkdir()
        for i in range(12000):
            host.path(f"data/x{i}").touch()  # several events each
            if i % 3:
                host.path(f"data/x{i}").unlink()
    finally:
        os.kill(host.pid, signal.SIGCONT)
    wait_until(lambda: len(held(fleet, host)) >= 4020, "all files to be found")
    assert "More changed at once" in host.output()


def test_without_enough_watches_scans_protect_and_it_is_said():
    script = "echo 15 > /proc/sys/user/max_inotify_watches && exec \"$@\""
    probe = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("user namespaces are not allowed here")
    with Fleet() as fleet:
        host = fleet.add_host("robot-watches", start=False)
        host.configure(host.source("data", rescan="300ms"))
        for i in range(40):
            host.write(f"data/{i}/file", "x")
        host.command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *host.command]
        host.start()
        fleet.wait()
        for i in range(40):
            host.write(f"data/{i}/file", "changed")
        fleet.wait()
        for i in range(0, 40, 13):
            assert fleet.cli("cat", host.target("data", f"data/{i}/file")) == "changed"
        source = fleet.json("sources")["sources"][0]
        assert source["state"] == "degraded" and "max_user_watches" in source["note"]
        assert re.search(r"\d+ directories are not watched", source["note"]) and "every 300 ms" in source["note"]
        assert [name for name in fleet.metrics() if name.startswith("holdfast_source_state")] == [
            f'holdfast_source_state{{host="robot-watches",host_id="{source["host"]}",source="data",class="config",'
            'state="degraded"}']
        # Once there are enough, the next scan sets them.
        subprocess.run(["nsenter", "--target", str(host.pid), "--user", "--preserve-credentials", "sh", "-c",
                        "echo 1000 > /proc/sys/user/max_inotify_watches"], check=True)
        wait_until(lambda: fleet.json("sources")["sources"][0]["state"] == "watching", "the watches to be set")
        assert fleet.json("sources")["sources"][0]["note"] == ""


def test_what_can_not_be_read_is_named_and_kept_and_all_else_goes_on(fleet):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.fail("setpriv is missing: deploy/dependencies test")
    host = fleet.add_host("robot-unreadable", start=False)
    host.configure(host.source("data", rescan="300ms"))
    if os.geteuid() == 0:  # the power to read everything
        host.command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *host.command]
    for name in ("closed/file", "closed/deep/file", "secret", "open/file", "zz"):
        host.write(f"data/{name}", "before")
    host.start()
    fleet.wait()

    def content(name):
        return fleet.cli("cat", host.target("data", f"data/{name}"), check=False).stdout

    closed, secret = host.path("data/closed"), host.path("data/secret")
    for path, what in ((closed, "closed"), (secret, "secret")):
        until = fleet.source(host)["protected_until"]
        mode = path.stat().st_mode & 0o777
        with open(path if path == secret else os.devnull, "r+") as file:
            path.chmod(0)
            file.write("meanwhile")
        wait_until(lambda: fleet.source(host)["state"] == "failing", "it to be said")
        wait_until(lambda: re.search(f"data/{what}: .*Permission denied", fleet.source(host)["note"]), "it to be named")
        assert [name for name in fleet.metrics() if name.startswith("holdfast_source_state") and host.name in name
                and 'state="failing"' in name]
        for name in ("open/file", "zz"):  # what comes before it in a scan, and after
            host.write(f"data/{name}", f"while {what}")
            wait_until(lambda: content(name) == f"while {what}", name)
        assert content("closed/file") == content("closed/deep/file") == "before", "it is not taken for deleted"
        if path == secret:
            assert content("secret") == "before"
        path.chmod(mode)
        wait_until(lambda: fleet.source(host)["state"] == "watching", "it to be over")
        wait_until(lambda: fleet.source(host)["note"] == "", "that to be said")
        wait_until(lambda: fleet.source(host)["protected_until"] > until, "a later mark")
    wait_until(lambda: content("secret") == "meanwhile", "what could not be read")


def test_a_root_that_comes_later_goes_and_comes_again(fleet):
    host = fleet.add_host("robot-root", start=False)
    late = host.root / "later/on"
    host.configure(host.source("data", path=late, rescan="1h"))
    host.start()
    fleet.wait()
    for round_number in range(2):
        late.mkdir(parents=True)
        (late / "file").write_text(str(round_number))
        target = f"robot-root:data{late}/file"
        wait_until(lambda: fleet.cli("cat", target, check=False).stdout == str(round_number), "the file")
        shutil.rmtree(late.parent)
        wait_until(lambda: fleet.cli("cat", target, check=False).returncode != 0, "its end")


def test_a_link_in_the_place_of_a_directory_shows_nothing_of_where_it_leads(fleet):
    """Whoever writes in a source can't have the agent read for him what only the agent may read."""
    host = watched(fleet, "robot-link", debounce="10ms")
    outside = host.directory / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    sub, aside = host.path("data/sub"), host.path("data/aside")
    host.write("data/sub/file", "own")
    fleet.wait()
    end = time.monotonic() + 3
    step = 0
    while time.monotonic() < end:
        step += 1
        (sub / "file").write_text(f"own {step}")
        sub.rename(aside)
        sub.symlink_to(outside)
        os.utime(outside / "file")
        time.sleep(0.005 * (step % 5))
        sub.unlink()
        aside.rename(sub)
    sub.rename(aside)
    sub.symlink_to(outside)
    settle(fleet, host, "data/aside/file")
    assert held(fleet, host)["sub"]["type"] == "symlink"
    assert "sub/file" not in held(fleet, host)
    for version in fleet.versions(host, "data", "data/sub/file"):
        if version["type"] != "absent":
            content = fleet.cli("cat", host.target("data", "data/sub/file"), "--version", str(version["version"]))
            assert content.startswith("own") or content == "", content


def test_globs_choose_and_exclude_wins(fleet):
    host = watched(fleet, "robot-globs", include="**/*.json", exclude="**/tmp/**")
    for name in ("a.json", "b.txt", "deep/er/c.json", "tmp/d.json", "deep/tmp/e.json"):
        host.write(f"data/{name}", "{}")
    settle(fleet, host, "data/a.json")
    assert {name for name, entry in held(fleet, host).items() if entry["type"] == "file"} == {"a.json", "deep/er/c.json"}


def test_a_file_that_does_not_parse_is_waited_for_and_flagged_if_it_stays_so(fleet):
    host = watched(fleet, "robot-json", validate="json")
    host.write("data/soon.json", '{"half": ')
    host.write("data/never.json", '{"broken": ')
    time.sleep(1.5)
    assert set(held(fleet, host)) == set(), "neither is on record while it may still be written"
    host.write("data/soon.json", '{"half": "whole"}')
    wait_until(lambda: "soon.json" in held(fleet, host), "the whole file", 20)
    assert [v.get("unparsable", False) for v in fleet.versions(host, "data", "data/soon.json")] == [False]
    wait_until(lambda: "never.json" in held(fleet, host), "the broken file to be taken as it is", 90)
    assert fleet.versions(host, "data", "data/never.json")[0]["unparsable"] is True
    assert fleet.cli("cat", host.target("data", "data/never.json")) == '{"broken": '


def test_sighup_takes_a_good_configuration_and_keeps_the_old_for_a_bad_one(fleet):
    host = watched(fleet, "robot-hup")
    (host.root / "more").mkdir()
    host.configure(host.source("data") + host.source("more"))
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: "going on with the changed configuration" in host.output(), "the new configuration")
    host.write("more/file", "x")
    wait_until(lambda: fleet.cli("cat", host.target("more", "more/file"), check=False).stdout == "x", "the new source")
    host.config_path.write_text("[source data]\npath = nowhere\n")
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: "the present one stays" in host.output(), "the complaint")
    host.write("more/file", "y")
    wait_until(lambda: fleet.cli("cat", host.target("more", "more/file"), check=False).stdout == "y", "the old one to go on")


def test_systemd_hears_of_start_life_and_stop(fleet, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        host = fleet.add_host("robot-systemd", start=False)
        host.env = dict(os.environ, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        host.start()
        heard = set()
        while not {"READY=1", "WATCHDOG=1"} <= heard:
            heard |= set(listener.recv(4096).decode().split("\n"))
        host.stop()
        while "STOPPING=1" not in heard:
            heard |= set(listener.recv(4096).decode().split("\n"))


def test_check_says_what_is_wrong_where_and_what_to_do(fleet, tmp_path):
    config = tmp_path / "agent.conf"
    config.write_text("[source data]\nkind = files\nclass = config\npaht = /etc\n")
    config.chmod(0o600)
    result = run(AGENT, "check", "--config", config, check=False)
    assert result.returncode != 0
    assert "path = /" in result.stderr, result.stderr
    config.write_text("[source data]\nkind = files\nclass = config\npath = /etc\ndebonce = 1s\n")
    result = run(AGENT, "check", "--config", config, check=False)
    assert f"{config}:5" in result.stderr and "debounce" in result.stderr, result.stderr


def test_equal_trees_after_a_storm_of_random_changes(fleet):
    """Whatever happened, in the end the collector has what is on the disk."""
    host = watched(fleet, "robot-storm", debounce="20ms")
    dice = random.Random(11)
    names = [f"data/{a}/{b}" for a in range(6) for b in range(12)]
    for _ in range(1500):
        path = host.path(dice.choice(names))
        what = dice.randrange(6)
        try:
            if what <= 2:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(dice.randbytes(dice.randrange(2000)))
            elif what == 3:
                path.unlink()
            elif what == 4:
                path.rename(host.path(dice.choice(names)))
            elif dice.random() < 0.1:
                shutil.rmtree(path.parent)
        except OSError:
            pass
    settle(fleet, host, "data/zz-mark")
    check_same(fleet, host)


def test_equal_trees_after_directories_were_moved_replaced_and_deleted_by_the_thousand(fleet):
    """As fast as this machine can, while they are watched and looked at: put in each other's place, with all that is
    in them, moved into each other and back, deleted and replaced."""
    host = watched(fleet, "robot-moves", debounce="20ms", verify="1h")
    dice = random.Random(12)
    upper = [os.fsencode(host.path(f"data/{a}")) for a in range(8)]
    lower = [b"%s/%d" % (place, b) for place in upper for b in range(8)]

    def fill(place):
        os.makedirs(place, exist_ok=True)
        for i in range(3):
            with open(b"%s/f%d" % (place, i), "wb") as file:
                file.write(dice.randbytes(50))

    for place in lower:
        fill(place)
    fleet.wait()
    for _ in range(4000):
        what = dice.random()
        one, other = dice.sample(upper if what < 0.3 else lower, 2)
        if what < 0.9:
            os.rename(one, one + b"~")
            os.rename(other, one)
            os.rename(one + b"~", other)
        elif what < 0.98:
            os.rename(one, other + b"/in")
            os.rename(other + b"/in/f0", other + b"/f0")
            os.rename(other + b"/in", one)
            fill(one)
        else:
            shutil.rmtree(other)
            os.mkdir(other)
            os.rename(one, other)
            fill(one)
    settle(fleet, host, "data/zz-mark")
    check_same(fleet, host)


def test_equal_trees_after_files_were_renamed_ten_thousand_times_and_more(fleet):
    host = watched(fleet, "robot-turns", debounce="20ms", verify="1h")
    dice = random.Random(13)
    places = [os.fsencode(host.path(f"data/{name}")) for name in range(200)]
    for i, place in enumerate(places[::2]):
        with open(place, "wb") as file:
            file.write(b"%d" % i)
    fleet.wait()
    renamed = 0
    while renamed < 40_000:
        place = dice.choice(places)
        if os.path.exists(place):
            to = dice.choice(places)
            if not os.path.exists(to) or dice.random() < 0.0005:  # onto another now and then
                os.rename(place, to)
                renamed += 1
    settle(fleet, host, "data/zz-mark")
    check_same(fleet, host)


def check_same(fleet, host):
    """What the collector has of it now is what is there."""
    copy = fleet.directory / f"{host.name}-copy"
    copy.mkdir()
    fleet.cli("download", host.target("data"), "--output", f"{copy}.tar")
    subprocess.run(["tar", "-xpf", f"{copy}.tar", "-C", copy], check=True)
    assert tree_digest(str(copy) + str(host.path("data"))) == tree_digest(host.path("data"))
