"""Holdfast as a subject: a collector, and one agent or a few, of the build that HOLDFAST_BUILD names.

Its times include the agents' start, mutual TLS, encryption on the wire and at rest, and the wait until all is durable
and acknowledged. The same cores serve agents and collector. A cost has, besides the sums, the parts of each side; of
several agents the CPU seconds are a sum and the peak is the largest, for they stand for agents on hosts of their own.
"""
import concurrent.futures
import datetime
import pathlib
import re
import shutil
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import fleet as harness  # noqa: E402
import measuring  # noqa: E402

PATIENCE_S = 1800
DEBOUNCE_S = 0.02  # in works of many versions, so that each rewrite may soon follow the one before


def moment_ns(text):
    """RFC 3339 with nanoseconds."""
    match = re.match(r"(.*T[\d:]+)(?:\.(\d+))?(Z|[+-].*)$", text)
    whole = datetime.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))


class Acknowledgements:
    """What an agent's log says on when versions became durable; its stamps are cut to milliseconds."""

    def __init__(self, host):
        self.handle = open(host.log, "rb")
        self.handle.seek(0, 2)
        self.rest = b""
        self.seen = []  # (version, nanoseconds since 1970)

    def read(self):
        """Whether there is a new one."""
        lines = (self.rest + self.handle.read()).split(b"\n")
        self.rest = lines.pop()
        count = len(self.seen)
        for line in lines:
            match = re.search(rb"^(\S+ \S+?)Z? .*source \S+: versions up to (\d+) are durable", line)
            if match:
                at = datetime.datetime.fromisoformat(match[1].decode()).replace(tzinfo=datetime.timezone.utc)
                self.seen.append((int(match[2]), int(at.timestamp() * 1e6) * 1000 + 1_000_000))  # round up
        return len(self.seen) > count

    def wait(self, what):
        harness.wait_until(self.read, what, seconds=PATIENCE_S, pause=0.001)

    def close(self):
        self.handle.close()


class Holdfast:
    name = "holdfast"

    def __init__(self, work, agents):
        """Ready to capture, with `agents` hosts that share the work's directories."""
        self.work = work
        self.fleet = harness.Fleet()
        self.fleet.__enter__()
        try:
            self._add_hosts(agents)
        except BaseException:
            self.fleet.close()
            raise

    def _add_hosts(self, agents):
        work = self.work
        self.restored = self.fleet.directory / "restored"
        self.restored.mkdir()
        self.hosts = {}  # of each series
        shares = [list(work.places)[number::agents] for number in range(agents)]
        # As the product's presets protect checkpoints: a half-written one is no version.
        small = {"validate": "json", "debounce": f"{DEBOUNCE_S * 1000:.0f}ms"} if work.small else {}
        for number, share in enumerate(shares):
            host = self.fleet.add_host(f"bench-{number}", start=False)
            sources = "".join(host.source(series, path=work.places[series], class_=work.class_, rescan="1h",
                                               restore_root=self.restored, restore_privileged="yes", **small)
                                   for series in share)
            host.configure(sources)
            if len(share) > 1:  # each source has marks of its own
                text = host.config_path.read_text()
                host.config_path.write_text(text.replace("mark_interval = 100ms", "mark_interval = 1s"))
            self.hosts |= {series: host for series in share}
        self.agents = self.fleet.hosts

    # What a piece of work took on each side.

    def _cpu(self):
        collector = measuring.cpu_of(self.fleet.collector.pid)
        return [measuring.cpu_of(host.pid) if host.running() else 0.0 for host in self.agents], collector

    def _cost(self, work):
        agents_before, collector_before = self._cpu()
        running = [host.running() for host in self.agents]
        for process in [self.fleet.collector, *self.agents]:
            if process.running():
                measuring.forget_peak_of(process.pid)
        begin = time.monotonic()
        helpers = work() or {"cpu_s": 0.0}
        wall = time.monotonic() - begin
        agents, collector = self._cpu()
        cost = {"wall_s": wall, "collector_cpu_s": collector - collector_before,
                "agent_cpu_s": sum(after - (before if ran else 0.0)
                                   for after, before, ran in zip(agents, agents_before, running)),
                "agent_peak_bytes": max(measuring.peak_of(host.pid) for host in self.agents),
                "collector_peak_bytes": measuring.peak_of(self.fleet.collector.pid)}
        cost["cpu_s"] = cost["agent_cpu_s"] + cost["collector_cpu_s"] + helpers["cpu_s"]
        cost["peak_bytes"] = cost["agent_peak_bytes"] + cost["collector_peak_bytes"]
        return cost

    # The steps.

    def _settled(self):
        def there():
            hosts = self.fleet.json("hosts")["hosts"]
            return (sum(host["online"] for host in hosts) == len(self.agents) and
                    len(self.fleet.json("sources")["sources"]) == len(self.hosts))

        harness.wait_until(there, "the agents", seconds=PATIENCE_S, pause=0.005 if len(self.agents) == 1 else 0.1)
        self.wait()

    def wait(self):
        self.fleet.cli("wait", "--timeout", f"{PATIENCE_S}s", timeout=PATIENCE_S + 30)

    def pause(self):
        """Nothing is watching, so that what changes now is captured when the clock runs."""
        for host in self.agents:
            host.stop()

    def capture(self):
        """From the agents' start until all is durable. They go on watching."""
        self.pause()

        def work():
            for host in self.agents:
                host.start()
            self._settled()

        return self._cost(work)

    def moment(self):
        return harness.now()

    def _restore(self, series, *arguments):
        """The command's own CPU seconds count too."""
        host = self.hosts[series]
        return measuring.run([harness.CLI, "restore", f"{host.name}:{series}", "--wait", *arguments],
                             env=self.fleet.collector.cli_env())

    def restore(self, moment):
        """All directories, which are gone, as of a moment."""
        self.wait()  # until the loss is captured

        def one_agent(host):
            return measuring.together(self._restore(series, "--at", moment)
                                      for series, its in self.hosts.items() if its is host)

        def work():
            with concurrent.futures.ThreadPoolExecutor(len(self.agents)) as pool:
                return measuring.together(pool.map(one_agent, self.agents))

        return self._cost(work)

    def restore_file(self, series, relative, moment):
        """One file, to a directory beside the tree. Returns the cost and where the file is."""
        source = self.work.places[series] / relative
        cost = self._cost(lambda: self._restore(series, source, "--at", moment, "--to", self.restored))
        found = [path for path in self.restored.rglob(source.name) if path.is_file()]
        if len(found) != 1:
            raise measuring.Failed(f"{source} was restored {len(found)} times beneath {self.restored}")
        return cost, found[0]

    def stored(self):
        return measuring.size_of(self.fleet.collector.directory / "repository")

    def beside(self):
        """The catalog and the agents' states, both of which can be made anew from the packs."""
        catalog = self.fleet.collector.directory.glob("catalog.db*")
        return measuring.size_of(*catalog, *(host.directory / "state" for host in self.agents))

    # Many versions.

    def rewrites(self):
        """Rewrite the work's file, each time once the version before is durable. Returns the cost, the latencies
        from close to acknowledgement, and a moment at which the version in the middle was the newest. The wall time is
        the sum of these latencies."""
        host = self.agents[0]
        self.pause()
        if "--log-level" not in host.command:
            host.command += ["--log-level", "debug"]
        host.start()
        self._settled()
        acknowledged = Acknowledgements(host)
        closed, moments = {}, []

        def work():
            for number in self.work.rewrite():
                closed[(self.work.root / self.work.file).stat().st_mtime_ns] = time.time_ns()
                until = time.monotonic() + DEBOUNCE_S * 1.3
                acknowledged.wait(f"version {number} to be durable")
                time.sleep(max(0.0, until - time.monotonic()))
                moments.append(self.moment())

        cost = self._cost(work)
        self.wait()
        acknowledged.read()
        acknowledged.close()
        latency = self._latencies(closed, acknowledged.seen)
        return cost | {"wall_s": latency.pop("sum_ms") / 1000}, latency, moments[len(moments) // 2]

    def _latencies(self, closed, acknowledged):
        host = self.agents[0]
        path = self.work.root / self.work.file
        rows = self.fleet.json("versions", f"{host.name}:data{path}", "--limit", "0")["versions"]
        milliseconds = []
        for row in rows:
            close = closed.pop(moment_ns(row["mtime"]), None)
            at = min((at for version, at in acknowledged if version >= row["version"]), default=None)
            if close and at:
                milliseconds.append((at - close) / 1e6)
        if closed:
            raise measuring.Failed(f"{len(closed)} of {self.work.versions} versions were not captured")
        milliseconds.sort()
        return {"count": len(milliseconds), "p50_ms": statistics.median(milliseconds),
                "p99_ms": milliseconds[max(0, int(len(milliseconds) * 0.99) - 1)], "max_ms": milliseconds[-1],
                "sum_ms": sum(milliseconds)}

    def idle(self, seconds):
        """What an agent takes while nothing happens, with the intervals that it has unless told otherwise."""
        host = self.agents[0]
        host.stop()
        host.command = [part for part in host.command if part not in ("--log-level", "debug")]
        text = re.sub(r"^(mark_interval|reconnect_max|rescan|debounce) = .*\n", "", host.config_path.read_text(),
                      flags=re.MULTILINE)
        host.config_path.write_text(text)
        host.start()
        self._settled()
        time.sleep(min(3.0, seconds))
        before, begin = measuring.cpu_of_threads(host.pid), time.monotonic()
        time.sleep(seconds)
        used, took = measuring.cpu_of_threads(host.pid) - before, time.monotonic() - begin
        return {"seconds": took, "cpu_percent": 100 * used / took, "resident_bytes": measuring.resident_of(host.pid)}

    def close(self):
        """Ends every process; one that ends badly is a failure."""
        self.fleet.__exit__(None, None, None)
        shutil.rmtree(self.restored, ignore_errors=True)
