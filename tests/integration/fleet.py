"""Builders for integration tests: a real collector, real agents, real hosts' files, in one directory.

    with Fleet() as fleet:
        robot = fleet.add_host("robot-01")
        robot.write("etc/app.conf", "a = 1\n")
        fleet.wait()
        fleet.cli("ls", "robot-01:config")

Every process is started by the test, listens on ports the kernel chose on 127.0.0.1, and has
ended when the `with` block is left. HOLDFAST_BUILD names the build directory.
"""
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request

BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", "build/dev")).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]
COLLECTOR = BUILD / "collector/holdfast-collector"
AGENT = BUILD / "agent/holdfast-agent"
CLI = BUILD / "collector/holdfast"
# Sanitizers and a loaded machine are slow: limits are there to end a hang, not to measure.
PATIENCE_S = float(os.environ.get("HOLDFAST_PATIENCE", "60"))


class Failed(AssertionError):
    """A command or process did not do what the test needed; carries its output."""


def wait_until(condition, what, seconds=PATIENCE_S, pause=None):
    """Poll until condition() is true and return its value. The longer it takes the seldomer it is asked for, as to ask
    is often to run a command, of which other tests would feel fifty a second; whoever waits for what is soon over
    again names a pause in seconds, which stays."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        elapsed = time.monotonic() - begin
        if elapsed > seconds:
            raise Failed(f"gave up after {seconds} s waiting for {what}")
        time.sleep(pause or min(max(0.02, elapsed / 16), 0.25))


def now():
    """This moment, as the CLI takes it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def tree_digest(root):
    """Every path beneath root with its type, mode, mtime and content: equal trees, equal dicts."""
    root = os.fsencode(root)
    digest = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            kind = status.st_mode & 0o170000
            entry = [kind, status.st_mode & 0o7777, status.st_uid, status.st_gid]
            if os.path.islink(path):
                entry = [kind, os.readlink(path)]
            elif os.path.isfile(path):
                with open(path, "rb") as handle:
                    entry += [status.st_mtime_ns, hashlib.sha256(handle.read()).hexdigest()]
            digest[relative] = entry
    return digest


class Process:
    """A daemon with its log in a file."""

    def __init__(self, command, log, env=None):
        self.command = [str(part) for part in command]
        self.log = log
        self.env = env
        self.process = None

    def start(self):
        assert self.process is None, "already running"
        handle = open(self.log, "ab")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=handle,
                                        stderr=handle, env=self.env)
        handle.close()
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def output(self):
        with open(self.log, errors="replace") as handle:
            return handle.read()

    def kill(self):
        """As a power cut would: no warning."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, expect=0):
        """Ask it to end and check that it does so cleanly."""
        if not self.process:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{self.command[0]} did not end on SIGTERM:\n{self.output()[-3000:]}")
        if expect is not None and status != expect:
            raise Failed(f"{self.command[0]} ended with {status}:\n{self.output()[-6000:]}")


class Collector(Process):
    def __init__(self, directory, names=("localhost", "127.0.0.1"), config=""):
        self.directory = pathlib.Path(directory)
        run(COLLECTOR, "init", "--data", self.directory, "--name", ",".join(names),
            "--agents", "127.0.0.1:0", "--enrol", "127.0.0.1:0", "--api", "127.0.0.1:0")
        if config:
            self.configure(config)
        super().__init__([COLLECTOR, "run", "--config", self.directory / "collector.conf"],
                         str(self.directory) + ".log")
        self.ports = {}

    def configure(self, text):
        """Add lines to the configuration: sections may be repeated in an ini file."""
        with open(self.directory / "collector.conf", "a") as handle:
            handle.write("\n" + text)

    def start(self):
        ports = self.directory / "run/ports"
        ports.unlink(missing_ok=True)
        super().start()

        def listening():
            if not self.running():
                raise Failed(f"the collector ended at its start:\n{self.output()[-6000:]}")
            return ports.exists() and ports.read_text().count("=") >= 3

        wait_until(listening, "the collector to listen")
        self.ports = dict(line.split("=") for line in ports.read_text().split())
        return self

    def restart_on_same_ports(self):
        """Pin the ports, so that agents find the collector again after a restart."""
        path = self.directory / "collector.conf"
        text = path.read_text()
        for name, port in self.ports.items():
            text = text.replace(f"{name} = 127.0.0.1:0", f"{name} = 127.0.0.1:{port}")
        path.write_text(text)

    def cli_env(self):
        return dict(os.environ, HOLDFAST_URL=f"https://127.0.0.1:{self.ports['api']}",
                    HOLDFAST_CA_FILE=str(self.directory / "ca/root.pem"),
                    HOLDFAST_TOKEN_FILE=str(self.directory / "admin.token"), TZ="UTC")


class Host(Process):
    """A host with its agent. Files live beneath `root`; the source `data` protects root/data."""

    def __init__(self, fleet, name, config=None, labels=()):
        self.fleet = fleet
        self.name = name
        self.directory = fleet.directory / name
        self.root = self.directory / "root"
        (self.root / "data").mkdir(parents=True)
        (self.directory / "state").mkdir()
        self.config_path = self.directory / "agent.conf"
        self.configure(config or self.source("data"))
        self.labels = labels
        super().__init__([AGENT, "run", "--config", self.config_path],
                         str(self.directory / "agent.log"))

    def source(self, name, path=None, **keys):
        """The text of a [source] section; path defaults to root/NAME."""
        lines = [f"[source {name}]", f"kind = {keys.pop('kind_', 'files')}", f"class = {keys.pop('class_', 'config')}",
                 f"path = {path or self.root / name}"]
        lines += [f"{key} = {value}" for key, value in keys.items()]
        return "\n".join(lines) + "\n"

    def configure(self, sources, agent="", mode=0o600):
        self.config_path.write_text(
            f"[agent]\nstate = {self.directory / 'state'}\nmark_interval = 100ms\nreconnect_max = 1s\n{agent}\n"
            f"[identity]\ndirectory = {self.directory / 'identity'}\n\n{sources}")
        self.config_path.chmod(mode)

    def enrol(self):
        token = self.directory / "token"
        labels = [arg for label in (f"name={self.name}", *self.labels) for arg in ("--label", label)]
        token.write_text(self.fleet.cli("token", "create", "--ttl", "10m", *labels))
        token.chmod(0o600)
        run(AGENT, "enroll", "--token-file", token, "--identity", self.directory / "identity")
        return self

    def path(self, relative):
        return self.root / relative

    def write(self, relative, data):
        path = self.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, str):
            data = data.encode()
        with open(path, "wb") as handle:
            handle.write(data)
        return path

    def target(self, source, relative=None):
        """HOST:SOURCE/PATH for the CLI."""
        text = f"{self.name}:{source}"
        return text if relative is None else text + str(self.path(relative))


def run(*command, check=True, env=None, text=True, input=None, timeout=None):
    """Run to the end. With check, returns stdout and fails on a non-zero status; else the result."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=text, env=env,
                            input=input, stdin=None if input is not None else subprocess.DEVNULL,
                            timeout=timeout or PATIENCE_S * 3)
    if not check:
        return result
    if result.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\nended with {result.returncode}\n"
                     f"{result.stdout}{result.stderr}")
    return result.stdout


class Fleet:
    def __init__(self, collector_config="", names=("localhost", "127.0.0.1")):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-test."))
        self.hosts = []
        self.extra = contextlib.ExitStack()
        try:
            self.collector = Collector(self.directory / "collector", names, collector_config)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def __enter__(self):
        try:
            self.collector.start()
            self.collector.restart_on_same_ports()
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        for process in [*self.hosts, self.collector]:
            process.kill()
        self.extra.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __exit__(self, kind, error, trace):
        if kind is not None:
            for process in [self.collector, *self.hosts]:
                if os.path.exists(process.log):
                    print(f"--- {process.log}\n{process.output()[-9000:]}")
            self.close()
            return
        try:
            for process in [*self.hosts, self.collector]:
                process.stop()
        finally:
            self.close()

    def add_host(self, name, config=None, labels=(), start=True, enrol=True):
        host = Host(self, name, config, labels)
        self.hosts.append(host)
        if enrol:
            host.enrol()
        if start:
            host.start()
        return host

    def cli(self, *arguments, check=True, text=True, timeout=None):
        return run(CLI, *arguments, check=check, env=self.collector.cli_env(), text=text, timeout=timeout)

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "--json"))

    def get(self, path):
        """An answer of the operators' listener that needs no token."""
        context = ssl.create_default_context(cafile=self.collector.directory / "ca/root.pem")
        url = f"https://localhost:{self.collector.ports['api']}{path}"
        with urllib.request.urlopen(url, context=context, timeout=PATIENCE_S) as answer:
            return answer.read().decode()

    def metrics(self):
        """Name with labels, as text: value."""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def wait(self, timeout=PATIENCE_S):
        """Until everything now on the disks of running hosts is durable on the collector."""
        names = [host.name for host in self.hosts if host.running()]
        if names:
            self.cli("wait", *names, "--timeout", f"{int(timeout)}s", timeout=timeout + 30)

    def source(self, host, name="data"):
        """What the collector says of one source."""
        return next(source for source in self.json("sources")["sources"]
                    if source["host_name"] == host.name and source["name"] == name)

    def versions(self, host, source, relative):
        return self.json("versions", host.target(source, relative))["versions"]

    def restore(self, target, *arguments, check=True):
        result = self.cli("restore", target, "--wait", *arguments, check=check)
        return result
