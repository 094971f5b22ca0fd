"""The agent doesn't disturb its host: what it leaves alone while nothing happens, and what it notices all the
same without looking."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from fleet import Fleet, wait_until
from tracing import Traced


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


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
    until = {name: fleet.source(host, name)["protected_until"] for name in ("data", "more", "absent")}
    with Traced(host.pid, host.directory / "idle.trace") as traced:
        time.sleep(3)  # thirty times `rescan`
        assert traced.lines() == []
        # And it was not for sleeping that it did nothing:
        for name, before in until.items():
            wait_until(lambda: fleet.source(host, name)["protected_until"] > before, "a later mark")
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
    wait_until(lambda: fleet.source(host)["state"] == "degraded", "it to be said")
    source = fleet.source(host)
    assert "proc does not tell of all changes" in source["note"] and "every 300 ms" in source["note"]
    until = source["protected_until"]
    wait_until(lambda: fleet.source(host)["protected_until"] > until, "another scan")


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
