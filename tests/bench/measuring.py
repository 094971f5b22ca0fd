"""What a piece of work costs: wall time, CPU seconds and peak memory of whole process trees, and bytes on disk.

A cost is a dict {"wall_s", "cpu_s", "peak_bytes"}: what the children of this process, or daemons beside it, took.
"""
import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A measured command failed, or what it gave back is not what it was given."""


def _children(pid):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as handle:
                found += [int(child) for child in handle.read().split()]
        except OSError:  # it ended
            pass
    return found


def tree_of(pid):
    """The process and all its descendants that are there now."""
    pids = [pid]
    for parent in pids:
        pids += _children(parent)
    return pids


def has_children(pid):
    return bool(_children(pid))


def _status_bytes(pid, field):
    try:
        with open(f"/proc/{pid}/status") as handle:
            for line in handle:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def peak_of(pid):
    """The most memory that one process has held."""
    return _status_bytes(pid, "VmHWM:")


def forget_peak_of(pid):
    """From now on peak_of() is of what follows; where that isn't permitted it stays that of the whole life."""
    try:
        with open(f"/proc/{pid}/clear_refs", "w") as handle:
            handle.write("5")
    except OSError:
        pass


def resident_of(pid):
    return _status_bytes(pid, "VmRSS:")


def cpu_of(pid, with_ended_children=False):
    """CPU seconds of a living process, to 1/100 s."""
    with open(f"/proc/{pid}/stat") as handle:
        fields = handle.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if with_ended_children else 13])) / TICKS


def cpu_of_threads(pid):
    """The same to the nanosecond, but only of the threads that live now: for a process that does nearly nothing."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as handle:
            total += int(handle.read().split()[0])
    return total / 1e9


class PeakMemory:
    """Looks at process trees every few milliseconds, in a thread; `bytes` is the most that they held together.

    The rusage of a child would also count what this interpreter held when it started that child.
    """

    def __init__(self, *pids):
        self.pids = pids
        self.bytes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        pause = 0.002
        while not self.ended.wait(pause):
            self.look()
            pause = min(0.025, pause * 1.3)

    def look(self):
        self.bytes = max(self.bytes, sum(peak_of(pid) for root in self.pids for pid in tree_of(root)))

    def __enter__(self):
        self.look()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def run(command, daemons=(), output=None, **options):
    """Run a command to its end and return its cost. `daemons` are processes that work for it: what they and
    their children use meanwhile is part of it. `output`, a file, takes what it prints."""
    before = sum(cpu_of(pid, with_ended_children=True) for pid in daemons)
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stderr=errors,
                                   stdout=output or subprocess.DEVNULL, **options)
        try:
            with PeakMemory(process.pid, *daemons) as memory:
                _, status, usage = os.wait4(process.pid, 0)
                wall = time.monotonic() - start
        except BaseException:  # the run is given up
            for pid in tree_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-3000:]
            raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text}")
    for pid in daemons:  # a daemon's child counts once it was waited for
        end = time.monotonic() + 5
        while has_children(pid) and time.monotonic() < end:
            time.sleep(0.002)
    during = sum(cpu_of(pid, with_ended_children=True) for pid in daemons) - before
    cost = {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime + during}
    return cost | ({"peak_bytes": memory.bytes} if memory.bytes else {})  # it may have ended before the first look


def together(costs):
    """Of steps done one after the other: times add up, of peaks the highest counts."""
    total = {}
    for cost in costs:
        for key, value in cost.items():
            if key.endswith("peak_bytes"):
                total[key] = max(total.get(key, 0), value)
            else:
                total[key] = total.get(key, 0) + value
    return total


def scaled(cost, factor):
    """As if it had been done `factor` times as often."""
    return {key: value if key.endswith("peak_bytes") else value * factor for key, value in cost.items()}


def size_of(*paths):
    """Bytes in files, and bytes that the file system gave away for them; a file with several names counts once."""
    content = allocated = 0
    seen = set()
    for path in paths:
        names = [path] if os.path.lexists(path) else []
        for folder, folders, files in os.walk(path):
            names += [os.path.join(folder, name) for name in folders + files]
        for name in names:
            try:
                status = os.lstat(name)
            except FileNotFoundError:  # a temporary file
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            allocated += status.st_blocks * 512
            if not os.path.isdir(name) or os.path.islink(name):
                content += status.st_size
    return content, allocated


def digest_of_file(path):
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of_tree(root):
    """Path: kind, permissions and content (SHA-256, or a link's target) of all that is beneath a directory."""
    digest = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if os.path.islink(path):
                entry = ("link", os.readlink(path))
            elif os.path.isdir(path):
                entry = ("directory", mode & 0o7777)
            else:
                entry = ("file", mode & 0o7777, digest_of_file(path))
            digest[os.path.relpath(path, root)] = entry
    return digest


def compare_trees(expected, root, what):
    found = digest_of_tree(root)
    if found != expected:
        wrong = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
        raise Failed(f"{what}: {len(wrong)} of {len(expected)} paths are not as they were, such as {wrong[0]}: "
                     f"{expected.get(wrong[0])} became {found.get(wrong[0])}")


def compare_file(expected, path, what):
    found = digest_of_file(path)
    if found != expected:
        raise Failed(f"{what}: {path} has the SHA-256 {found}, it was {expected}")
