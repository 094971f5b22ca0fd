"""The agent doesn't disturb its host: what it leaves alone while nothing happens, and what it notices all the
same without looking."""
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from fleet import Fleet, now, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def source_of(fleet, host, name="data"):
    return [s for s in fleet.json("sources")["sources"] if s["host_name"] == host.name and s["name"] == name][0]


class Traced:
    """What a process asks the kernel about files, while the block runs."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log

    def __enter__(self):
        # Everything that names a path or lists a directory, and everything that looks at an open file.
        calls = "%file,%stat,%lstat,%fstat,%statfs,%fstatfs,getdents,getdents64,inotify_add_watch,pread64,preadv"
        self.tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "-o", self.log,
                                        "-p", str(self.pid)], stdin=subprocess.DEVNULL)
        wait_until(lambda: all(self.tracer_of(task) == self.tracer.pid for task in os.listdir(f"/proc/{self.pid}/task")),
                   "strace to be there")
        return self

    def tracer_of(self, task):
        with open(f"/proc/{self.pid}/task/{task}/status") as status:
            return int(re.search(r"TracerPid:\t(\d+)", status.read()).group(1))

    def __exit__(self, *_):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait()

    def lines(self):
        with open(self.log) as log:
            return log.read().splitlines()


def test_nothing_is_asked_of_the_disk_while_nothing_changes(fleet):
    if not shutil.which("strace"):
        pytest.fail("strace is missing: deploy/dependencies test")
    host = fleet.add_host("robot-idle", start=False)
    host.configure(host.source("data", rescan="100ms") + host.source("more", class_="logs", rescan="100ms")
                   + host.source("absent", rescan="100ms"))
    for i in range(50):
        host.write(f"data/{i}/file", "x" * i)
        host.write(f"more/{i}.log", "y" * i)
    host.start()
    fleet.wait()
    until = {name: source_of(fleet, host, name)["protected_until"] for name in ("data", "more", "absent")}
    with Traced(host.pid, host.directory / "idle.trace") as traced:
        time.sleep(3)  # thirty times `rescan`
        assert traced.lines() == []
        # And it was not for sleeping that it did nothing:
        for name, before in until.items():
            wait_until(lambda: source_of(fleet, host, name)["protected_until"] > before, "a later mark")
        assert traced.lines() == []
        # nor for deafness, of us or of it: one file is looked at when it changes, and it alone.
        host.write("data/7/file", "changed")
        fleet.wait()
        seen = "\n".join(traced.lines())
    assert '"file"' in seen or "data/7" in seen, seen
    for other in ("data/8", "root/more", "root/absent"):
        assert other not in seen, seen
    assert fleet.cli("cat", host.target("data", "data/7/file")) == "changed"


def test_what_inotify_does_not_tell_of_is_found_by_the_slow_comparison(fleet):
    host = fleet.add_host("robot-verify", start=False)
    host.configure(host.source("data", rescan="1h", verify="300ms"))
    outside = host.write("outside", "before")
    os.link(outside, host.path("data/inside"))
    host.start()
    fleet.wait()
    outside.write_text("by its other name")  # of which no watch of data hears
    wait_until(lambda: fleet.cli("cat", host.target("data", "data/inside")) == "by its other name", "the comparison")


def test_a_file_system_that_does_not_tell_is_scanned_and_said_to_be(fleet):
    host = fleet.add_host("robot-proc", start=False)
    host.configure(host.source("data", path="/proc/tty", rescan="300ms", verify="1h"))
    host.start()
    fleet.wait()
    wait_until(lambda: source_of(fleet, host)["state"] == "degraded", "it to be said")
    source = source_of(fleet, host)
    assert "proc does not tell of all changes" in source["note"] and "every 300 ms" in source["note"]
    until = source["protected_until"]
    wait_until(lambda: source_of(fleet, host)["protected_until"] > until, "another scan")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_root_that_is_renamed_away_at_any_height_is_noticed_at_once(fleet, level):
    host = fleet.add_host(f"robot-moved-{level}", start=False)
    host.configure(host.source("data", path=host.root / "a/b/c/data", rescan="1h"))
    host.write("a/b/c/data/file", "here")
    host.start()
    fleet.wait()
    target = host.target("data", "a/b/c/data/file")
    top = host.path("/".join("abc"[:level]))
    top.rename(host.root / "elsewhere")
    wait_until(lambda: fleet.cli("cat", target, check=False).returncode != 0, "its end")
    (host.root / "elsewhere").rename(top)
    wait_until(lambda: fleet.cli("cat", target, check=False).stdout == "here", "its return")


def test_what_else_happens_above_a_root_is_not_even_heard(fleet):
    host = fleet.add_host("robot-noise", start=False)
    host.configure(host.source("data", path=host.root / "a/data"), agent="mark_interval = 1h")
    host.write("a/data/file", "x")
    host.start()
    fleet.wait()

    def wakes():
        total = 0
        for task in os.listdir(f"/proc/{host.pid}/task"):
            with open(f"/proc/{host.pid}/task/{task}/status") as status:
                total += int(re.search(r"^voluntary_ctxt_switches:\t(\d+)", status.read(), re.M).group(1))
        return total

    before = wakes()
    for i in range(2000):
        host.write(f"a/noise-{i % 7}", "y")
        host.write(f"noise-{i % 7}", "y")
    assert wakes() - before < 200
    host.stop()  # it would tell of later moments in an hour


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_root_that_is_no_directory_is_followed_through_all_that_it_becomes(fleet, kind):
    host = fleet.add_host(f"robot-{kind}", start=False)
    root = host.root / "a/root"
    host.configure(host.source("data", path=root, rescan="1h"))
    host.write("a/other/file", "by a link")
    if kind == "file":
        root.write_text("first")
    else:
        root.symlink_to("other")
    host.start()
    fleet.wait()
    target = host.target("data", "a/root")

    def entry():
        result = fleet.cli("ls", host.target("data"), "--recursive", "--json", check=False)
        return {e["path"]: e for e in json.loads(result.stdout)["entries"]} if result.returncode == 0 else {}

    name = str(root).lstrip("/")
    if kind == "file":
        root.write_text("second")
        wait_until(lambda: fleet.cli("cat", target, check=False).stdout == "second", "the change")
    assert entry()[name]["type"] == ("file" if kind == "file" else "symlink")
    root.unlink()
    wait_until(lambda: name not in entry(), "its end")
    root.mkdir()
    (root / "in").write_text("third")
    wait_until(lambda: fleet.cli("cat", target + "/in", check=False).stdout == "third", "the directory in its place")
    shutil.rmtree(root)
    wait_until(lambda: name not in entry(), "the directory's end")
    root.write_text("fourth")
    wait_until(lambda: fleet.cli("cat", target, check=False).stdout == "fourth", "the file in its place")


def priorities(host):
    """Of each thread by its name: nice, and the I/O class and priority as ionice says them."""
    found = {}
    for task in os.listdir(f"/proc/{host.pid}/task"):
        try:
            with open(f"/proc/{host.pid}/task/{task}/stat") as stat:
                name, _, rest = stat.read().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has just ended
        ionice = subprocess.run(["ionice", "-p", task], capture_output=True, text=True)
        found[name] = (int(rest.split()[16]), ionice.stdout.strip())
    return found


def test_what_captures_stands_back_and_what_restores_or_answers_does_not(fleet):
    host = fleet.add_host("robot-nice", start=False)
    host.configure(host.source("data"))
    host.write("data/file", "x")
    host.start()
    fleet.wait()
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    ours = subprocess.run(["ionice", "-p", str(os.getpid())], capture_output=True, text=True, check=True).stdout.strip()
    found = priorities(host)
    for name in ("capture", "shipper"):
        assert found[name] == (max(nice, 10), "best-effort: prio 7")
    for name in ("link", "restorer", "signals"):
        assert found[name] == (nice, ours)
    host.configure(host.source("data"), agent="nice = 19\nio_class = idle")
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: priorities(host).get("capture") == (19, "idle"), "the new configuration")
    fleet.cli("restore", host.target("data"), "--wait")
    wait_until(lambda: priorities(host)["capture"] == (19, "idle"), "it to stand back again")


def test_an_upload_limit_holds_and_what_is_precious_goes_before_what_is_much(fleet):
    host = fleet.add_host("robot-limit", start=False)
    limit = 400 * 1024
    sources = host.source("bulk", class_="logs") + host.source("points", class_="checkpoints")
    host.configure(sources, agent="upload_limit = 400KiB")
    host.write("bulk/large", os.urandom(12_000_000))  # half a minute's worth
    host.write("points/first", "0")
    host.start()

    def sample():
        before = time.monotonic()
        sent = fleet.metrics()["holdfast_ingest_bytes_total"]
        return before, sent, time.monotonic()

    samples = []
    for step in range(6):
        host.write("points/point", str(step))
        for _ in range(3):
            samples.append(sample())
            time.sleep(0.3)
        wait_until(lambda: fleet.cli("cat", host.target("points", "points/point"), check=False).stdout == str(step),
                   "the checkpoint")
        assert fleet.cli("cat", host.target("bulk", "bulk/large"), check=False, text=False).returncode != 0
    assert samples[-1][1] > samples[0][1] + limit / 2, "it was under way"
    for i, (before, sent, _) in enumerate(samples):
        for _, later_sent, after in samples[i + 1:]:
            # The burst, or one frame; and what lay in sockets at the first sample.
            assert later_sent - sent <= limit * (after - before) + 2 * limit, (i, later_sent - sent, after - before)
    host.configure(sources)
    os.kill(host.pid, signal.SIGHUP)
    fleet.wait()  # long before the limit would have let it
    assert fleet.cli("cat", host.target("bulk", "bulk/large"), text=False) == host.path("bulk/large").read_bytes()


def span(begin_s, end_s):
    """A span of quiet hours, from so many seconds ago to so many from now, in whole minutes."""
    now = datetime.datetime.now()
    begin, end = (now + datetime.timedelta(seconds=s) for s in (-begin_s, end_s))
    return f"{begin:%H:%M}-{end:%H:%M}"


def test_in_quiet_hours_what_is_large_is_left_alone_until_they_are_over(fleet):
    host = fleet.add_host("robot-quiet", start=False)
    names = {"points": "checkpoints", "conf": "config", "keys": "credentials", "logs": "logs", "flows": "workflows"}
    sources = "".join(host.source(name, class_=kind, rescan="100ms", verify="100ms") for name, kind in names.items())
    sources += host.source("always", class_="logs", quiet_hours="none")
    for name in [*names, "always"]:
        host.write(f"{name}/file", "before")
    host.configure(sources)
    host.start()
    fleet.wait()
    if datetime.datetime.now().second > 50:
        time.sleep(12)  # so that what follows ends before the quiet hours do
    end = datetime.datetime.now().replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
    host.configure(sources, agent=f"quiet_hours = {span(3600, 60)}")
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: source_of(fleet, host, "logs")["state"] == "waiting", "the quiet hours")
    until = source_of(fleet, host, "logs")["protected_until"]

    def content(name):
        return fleet.cli("cat", host.target(name, f"{name}/file"))

    with Traced(host.pid, host.directory / "quiet.trace") as traced:
        for name in [*names, "always"]:
            host.write(f"{name}/file", "in quiet hours")
        for name in ("points", "conf", "keys", "always"):
            wait_until(lambda: content(name) == "in quiet hours", name)
        seen = "\n".join(traced.lines())
    if datetime.datetime.now() < end:
        assert f"{host.root}/logs" not in seen and f"{host.root}/flows" not in seen, seen
        for name in ("logs", "flows"):
            assert content(name) == "before"
            source = source_of(fleet, host, name)
            assert source["state"] == "waiting" and source["note"] == f"waits for the end of quiet hours at {end:%H:%M}"
        assert source_of(fleet, host, "logs")["protected_until"] == until
    # They end by themselves.
    for name in ("logs", "flows"):
        wait_until(lambda: content(name) == "in quiet hours", name, 120)
        assert datetime.datetime.now() >= end
    fleet.wait()
    assert source_of(fleet, host, "logs")["note"] == ""


def test_quiet_hours_begin_while_a_large_file_is_read_and_it_is_read_afterwards(fleet):
    host = fleet.add_host("robot-begins", start=False)
    sources = host.source("logs", class_="logs") + host.source("conf")
    host.write("logs/large", os.urandom(30_000_000))
    now = datetime.datetime.now()
    begin = now.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
    if (begin - now).total_seconds() < 5:
        begin += datetime.timedelta(minutes=1)
    # So slow that it can't be through by then: the outbox holds 16 MiB.
    quiet = f"quiet_hours = {begin:%H:%M}-{begin + datetime.timedelta(minutes=180):%H:%M}"
    host.configure(sources, agent=f"{quiet}\nupload_limit = 64KiB")
    host.start()
    wait_until(lambda: "quiet hours until" in host.output(), "the quiet hours", 90)
    wait_until(lambda: source_of(fleet, host, "logs")["state"] == "waiting", "it to be said")
    host.write("conf/file", "goes on")
    wait_until(lambda: fleet.cli("cat", host.target("conf", "conf/file"), check=False).stdout == "goes on", "the small file")
    assert fleet.cli("cat", host.target("logs", "logs/large"), check=False, text=False).returncode != 0
    host.configure(sources)
    os.kill(host.pid, signal.SIGHUP)
    fleet.wait()
    assert fleet.cli("cat", host.target("logs", "logs/large"), text=False) == host.path("logs/large").read_bytes()


def test_a_restore_captures_what_it_replaces_in_quiet_hours_too_and_nothing_else(fleet):
    host = fleet.add_host("robot-needs", start=False)
    sources = host.source("logs", class_="logs") + host.source("flows", class_="workflows")
    for name in ("logs", "flows"):
        host.write(f"{name}/file", "good")
    host.configure(sources)
    host.start()
    fleet.wait()
    moment = now()
    host.configure(sources, agent=f"quiet_hours = {span(3600, 7200)}")
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: source_of(fleet, host, "flows")["state"] == "waiting", "the quiet hours")
    for name in ("logs", "flows"):
        host.write(f"{name}/file", "changed in quiet hours")
    fleet.restore(host.target("flows"), "--at", moment)
    assert host.path("flows/file").read_text() == "good"
    contents = [fleet.cli("cat", host.target("flows", "flows/file"), "--version", str(v["version"]))
                for v in fleet.versions(host, "flows", "flows/file")]
    assert "changed in quiet hours" in contents, "what was replaced can be had back"
    assert fleet.cli("cat", host.target("logs", "logs/file")) == "good"
    assert source_of(fleet, host, "logs")["state"] == "waiting"
