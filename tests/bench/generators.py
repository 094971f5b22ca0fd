"""Data to protect, the same on every machine for the same seed and size, and changes that can be taken back."""
import os
import pathlib
import random
import subprocess

import measuring

LINUX = pathlib.Path("/usr/src/linux-source-6.1.tar.xz")
WORDS = ("robot workflow invoice supplier customer order delivery payment selector browser element timeout retry "
         "session credential schedule trigger queue orchestrator heartbeat checkpoint variable sheet column row total "
         "amount currency document mailbox attachment folder archive template window button field value result").split()
MIB = 1 << 20


def linux_source(directory, scale=1.0):
    """The source of Linux 6.1; with a smaller scale every n-th of its files."""
    if not LINUX.exists():
        raise measuring.Failed("linux-source-6.1 is not installed: run deploy/dependencies bench, or name a tree "
                               "with --tree DIR")
    subprocess.run(["tar", "-xf", LINUX, "-C", directory, "--strip-components=1"], check=True)
    if scale < 1:
        files = sorted(path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink())
        keep = round(1 / scale)
        for number, path in enumerate(files):
            if number % keep:
                path.unlink()


def phrases(pick, count=4096):
    return [" ".join(pick.choices(WORDS, k=pick.randrange(2, 7))) for _ in range(count)]


def mixed_file(path, size, seed):
    """Pieces of 64 KiB to 4 MiB: 40 % without any order, 30 % text, 20 % repeats of pieces before, 10 % zeros."""
    pick = random.Random(seed)
    said = phrases(pick)
    pieces = []

    def text(length):
        lines = (f"{pick.randrange(10**6)} {phrase}\n" for phrase in pick.choices(said, k=length // 30 + 1))
        return "".join(lines).encode().ljust(length, b".")[:length]

    with open(path, "wb") as handle:
        left = size
        while left > 0:
            length = min(left, int(2 ** pick.uniform(16, 22)))
            kind = pick.random()
            if kind < 0.4:
                piece = pick.randbytes(length)
            elif kind < 0.7:
                piece = text(length)
            elif kind < 0.9 and pieces:
                piece = pick.choice(pieces)[:left]
            else:
                piece = bytes(length)
            if len(pieces) < 64:
                pieces.append(piece)
            else:
                pieces[pick.randrange(64)] = piece
            handle.write(piece)
            left -= len(piece)


def log_lines(pick, said, size):
    """So many bytes of a robot's log."""
    levels = ("INFO ", "INFO ", "INFO ", "DEBUG", "WARNING", "ERROR")
    messages = [f" | {pick.choice(levels)} | {phrase} job=" for phrase in said]
    seconds = [f":{at // 1000:02}.{at % 1000:03}" for at in range(60_000)]
    jobs = [f"{at * 7919 % 99991}\n" for at in range(60_000)]
    written, blocks = 0, []
    while written < size:
        day = f"2026-{pick.randrange(1, 13):02}-{pick.randrange(1, 29):02}"
        minute = f"{day} {pick.randrange(24):02}:{pick.randrange(60):02}"
        stamps = sorted(pick.choices(range(60_000), k=4000))
        block = "".join([minute + seconds[at] + message + jobs[at]
                         for at, message in zip(stamps, pick.choices(messages, k=4000))]).encode()
        block = block[:size - written]
        blocks.append(block)
        written += len(block)
    return b"".join(blocks)


def log_file(path, size, seed):
    pick = random.Random(seed)
    said = phrases(pick)
    with open(path, "wb") as handle:
        left = size
        while left > 0:
            handle.write(log_lines(pick, said, min(left, 16 * MIB)))
            left -= min(left, 16 * MIB)


def _configuration(pick, said, kind):
    lines = int(min(400, pick.lognormvariate(3.6, 1.0))) + 3
    values = pick.choices(said, k=lines)
    if kind == "json":
        return "{\n" + ",\n".join(f'  "{v.split()[0]}_{i}": "{v} {pick.randrange(9999)}"'
                                  for i, v in enumerate(values)) + "\n}\n"
    if kind == "yaml":
        return "".join(f"{v.split()[0]}_{i}:\n  name: {v}\n  port: {pick.randrange(65536)}\n"
                       for i, v in enumerate(values))
    return "".join(f"# {v}\n{v.replace(' ', '_')}_{i} = {pick.randrange(10**6)}\n" for i, v in enumerate(values))


def host_trees(directory, hosts, seed, files=200, own=4):
    """Configurations of hosts that were set up alike: of `files` files each has `own` that differ from all others'."""
    pick = random.Random(seed)
    said = phrases(pick)
    kinds = ("json", "yaml", "conf")
    names = [f"{pick.choice(WORDS)}.d/{pick.choice(WORDS)}-{number}.{pick.choice(kinds)}" for number in range(files)]
    common = [_configuration(pick, said, name.rpartition(".")[2]).encode() for name in names]
    for host in range(hosts):
        root = directory / f"host-{host:04}"
        for folder in {name.partition("/")[0] for name in names}:
            (root / folder).mkdir(parents=True)
        differing = set(pick.sample(range(files), own))
        for number, name in enumerate(names):
            content = common[number]
            if number in differing:
                lines = content.splitlines(keepends=True)
                named = [line for line, text in enumerate(lines) if b"_" in text]
                for line in pick.sample(named, min(len(named), 3)):
                    lines[line] = lines[line].replace(b"_", b"_%04d_" % host, 1)
                content = b"".join(lines)
            with open(root / name, "wb") as handle:
                handle.write(content)


class Undo:
    """Remembers what files were before they are changed, and makes them so again, times included."""

    def __init__(self):
        self.before = {}

    def _remember(self, path):
        if path not in self.before:
            status = os.stat(path)
            self.before[path] = (status.st_size, (status.st_atime_ns, status.st_mtime_ns), [])
        return self.before[path][2]

    def append(self, path, data):
        self._remember(path)
        with open(path, "ab") as handle:
            handle.write(data)

    def overwrite(self, path, offset, data):
        with open(path, "r+b") as handle:
            handle.seek(offset)
            self._remember(path).append((offset, handle.read(len(data))))
            handle.seek(offset)
            handle.write(data)

    def undo(self):
        for path, (size, times, pieces) in self.before.items():
            with open(path, "r+b") as handle:
                for offset, old in reversed(pieces):
                    handle.seek(offset)
                    handle.write(old)
                handle.truncate(size)
            os.utime(path, ns=times)
        self.before = {}
