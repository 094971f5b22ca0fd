"""Quiet hours: what waits for their end, what does not, and that they begin and end by themselves. They are in whole
minutes, so these tests wait for the next one."""
import datetime
import os
import signal
import time

import pytest

from fleet import Fleet, now, wait_until
from tracing import Traced


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


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
    wait_until(lambda: fleet.source(host, "logs")["state"] == "waiting", "the quiet hours")
    until = fleet.source(host, "logs")["protected_until"]

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
            source = fleet.source(host, name)
            assert source["state"] == "waiting" and source["note"] == f"waits for the end of quiet hours at {end:%H:%M}"
        assert fleet.source(host, "logs")["protected_until"] == until
    # They end by themselves.
    for name in ("logs", "flows"):
        wait_until(lambda: content(name) == "in quiet hours", name, 120)
        assert datetime.datetime.now() >= end
    fleet.wait()
    assert fleet.source(host, "logs")["note"] == ""


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
    wait_until(lambda: fleet.source(host, "logs")["state"] == "waiting", "it to be said")
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
    wait_until(lambda: fleet.source(host, "flows")["state"] == "waiting", "the quiet hours")
    for name in ("logs", "flows"):
        host.write(f"{name}/file", "changed in quiet hours")
    fleet.restore(host.target("flows"), "--at", moment)
    assert host.path("flows/file").read_text() == "good"
    contents = [fleet.cli("cat", host.target("flows", "flows/file"), "--version", str(v["version"]))
                for v in fleet.versions(host, "flows", "flows/file")]
    assert "changed in quiet hours" in contents, "what was replaced can be had back"
    assert fleet.cli("cat", host.target("logs", "logs/file")) == "good"
    assert fleet.source(host, "logs")["state"] == "waiting"
