"""Thousands of simulated agents (tests/fleet) beside a real collector.

    with Fleet() as fleet, Load(fleet, identities, 1000) as load:
        load.connect()
        load.say("rate 5000")
        time.sleep(10)
        print(load.phase("busy")["ack"])
        load.drain()
        load.end()
"""
import json
import os
import pathlib
import queue
import resource
import subprocess
import threading
import time

from fleet import BUILD, PATIENCE_S, Failed, run

LOAD = BUILD / "tests/fleet/fleet_load"


def raise_descriptor_limit():
    """For this process and those it starts: a connection is a descriptor at each end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def enrol(fleet, directory, count):
    """Enrol hosts load-00000 and on, through the enrolment listener; those that are enrolled stay."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    token = fleet.directory / "load.token"
    token.write_text(fleet.cli("token", "create", "--ttl", "2h", "--uses", str(count)))
    token.chmod(0o600)
    run(LOAD, "enrol", "--address", f"127.0.0.1:{fleet.collector.ports['enrol']}", "--root",
        fleet.collector.directory / "ca/root.pem", "--token-file", token, "--dir", directory,
        "--agents", count, timeout=1800)


class Load:
    """The load generator's process."""

    def __init__(self, fleet, directory, count, *options):
        self.sequences_path = fleet.directory / "sequences"
        self.count = count
        self.events = queue.Queue()
        self.log = open(fleet.directory / "load.log", "ab")
        command = [LOAD, "run", "--address", f"127.0.0.1:{fleet.collector.ports['agents']}", "--root",
                   fleet.collector.directory / "ca/root.pem", "--dir", directory, "--agents", count,
                   "--sequences", self.sequences_path, *options]
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        try:
            self.wait("ready")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        if kind is not None:
            print(f"--- the load generator\n{pathlib.Path(self.log.name).read_text()[-3000:]}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def wait(self, event, seconds=PATIENCE_S * 5):
        """The next event of that name; others that come before it are dropped."""
        end = time.monotonic() + seconds
        while True:
            try:
                got = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failed(f"gave up after {seconds} s waiting for the load generator's '{event}'")
            if got is None:
                raise Failed(f"the load generator ended before '{event}'")
            if got["event"] == event:
                return got

    def connect(self):
        """Until every agent's source is open; returns the seconds it took."""
        start = time.monotonic()
        self.say("connect")
        self.wait("connected")
        return time.monotonic() - start

    def phase(self, name):
        """What was counted since the last phase."""
        self.say(f"phase {name}")
        return self.wait("phase")

    def drain(self):
        self.say("rate 0")
        self.say("drain")
        self.wait("drained")

    def end(self):
        """Ends it; fails when the collector broke a promise."""
        self.say("quit")
        end = self.wait("end")
        if self.process.wait(PATIENCE_S) != 0:
            raise Failed(f"the load generator complains: {end}")
        return end

    def sequences(self):
        """After end: host name to (last version sent, last acknowledged)."""
        rows = (line.split() for line in self.sequences_path.read_text().splitlines())
        return {name: (int(sent), int(acked)) for name, sent, acked in rows}


class Usage:
    """What a process uses, from /proc."""

    def __init__(self, pid):
        self.pid = pid
        self.start = time.monotonic()
        self.cpu_start = self.cpu_s()

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat") as handle:
            fields = handle.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, field="VmRSS"):
        with open(f"/proc/{self.pid}/status") as handle:
            for line in handle:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def cores(self):
        """Cores in use, on average since this object was made."""
        return (self.cpu_s() - self.cpu_start) / (time.monotonic() - self.start)
