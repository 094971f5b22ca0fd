"""The work that is measured: what is protected, how it changes, and how it is lost.

A work is made once, and put back as it was before the next subject gets it, so that all meet the same bytes.
"""
import hashlib
import os
import pathlib
import random
import shutil

import checkpoints
import generators
import measuring

GIB = 1 << 30


class Work:
    """Directories that are captured, changed by 1 % twice, lost, and restored."""
    name = ""
    what = ""  # one line for people
    small = False  # many versions of something small
    class_ = "workflows"

    def __init__(self, directory, scale):
        self.root = pathlib.Path(directory) / "data"
        self.lost = pathlib.Path(directory) / "lost"
        self.root.mkdir()
        self.undo = generators.Undo()
        self.expected = {}
        self.watched = None  # (series, file) that both changes touch
        self.watched_digest = None  # of it after the first change
        self.make(scale)
        self.places = self.directories()  # series: directory
        self.size = self.count = 0
        for place in self.places.values():
            for folder, _, files in os.walk(place):
                self.count += len(files)
                self.size += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)

    def make(self, scale):
        """Fill self.root."""

    def directories(self):
        return {"data": self.root}

    def change(self, turn):
        """Change 1 %, differently in each turn, and note what the watched file is now."""
        self.do_change(turn)
        series, relative = self.watched
        if turn == 1:
            self.watched_digest = measuring.digest_of_file(self.places[series] / relative)

    def do_change(self, turn):
        raise NotImplementedError

    def reset(self):
        """As it was before the first change."""
        self.undo.undo()

    def expect(self, series):
        """What is there in the end, for comparing; the same for every subject."""
        if series not in self.expected:
            place = self.lost / series if (self.lost / series).exists() else self.places[series]
            self.expected[series] = measuring.digest_of_tree(place)
        return self.expected[series]

    def lose(self):
        self.lost.mkdir()
        for series, place in self.places.items():
            place.rename(self.lost / series)

    def find_again(self):
        """Put the originals back, in the place of what was restored."""
        if not self.lost.exists():
            return
        for series, place in self.places.items():
            if (self.lost / series).exists():
                shutil.rmtree(place, ignore_errors=True)
                (self.lost / series).rename(place)
        self.lost.rmdir()

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.lost, ignore_errors=True)

    def append_to_some(self, turn, files, text):
        """Append to one file of a hundred, the watched one always among them."""
        chosen = random.Random(turn).sample(files, max(1, len(files) // 100))
        for path in {*chosen, self.places[self.watched[0]] / self.watched[1]}:
            self.undo.append(path, b"\n" + text % turn)


class Tree(Work):
    name = "tree"
    given = None  # a directory to take instead

    def make(self, scale):
        if self.given:
            shutil.copytree(self.given, self.root, symlinks=True, dirs_exist_ok=True)
            self.what = f"a copy of {self.given}"
        else:
            generators.linux_source(self.root, scale)
            self.what = "the source of Linux 6.1"
        self.files = sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        self.watched = ("data", str(self.files[len(self.files) // 2].relative_to(self.root)))

    def do_change(self, turn):
        self.append_to_some(turn, self.files, b"/* changed %d */\n")


class Mixed(Work):
    name = "mixed"
    what = "one file: 40 % random, 30 % text, 20 % repeats, 10 % zeros, in pieces of 64 KiB to 4 MiB"
    class_ = "database"

    def make(self, scale):
        self.length = max(1 << 20, int(4 * GIB * scale))
        self.watched = ("data", "mixed.img")
        generators.mixed_file(self.root / "mixed.img", self.length, seed=2)

    def do_change(self, turn):
        pick = random.Random(turn)
        left = self.length // 100
        while left > 0:
            piece = min(left, pick.randrange(16 << 10, 512 << 10))
            self.undo.overwrite(self.root / "mixed.img", pick.randrange(self.length - piece), pick.randbytes(piece))
            left -= piece


class Log(Work):
    name = "log"
    what = "one log of a robot that grows by 1 %"
    class_ = "logs"

    def make(self, scale):
        self.length = max(1 << 20, int(2_000_000_000 * scale))
        self.watched = ("data", "robot.log")
        generators.log_file(self.root / "robot.log", self.length, seed=3)

    def do_change(self, turn):
        pick = random.Random(turn)
        said = generators.phrases(pick)
        self.undo.append(self.root / "robot.log", generators.log_lines(pick, said, self.length // 100))


class Hosts(Work):
    name = "hosts"
    class_ = "config"

    def make(self, scale):
        self.number = max(4, int(1000 * scale))
        generators.host_trees(self.root, self.number, seed=4)
        self.what = f"configurations of {self.number} hosts, 200 files each, 2 % of them different on each host"
        self.watched = ("host-0001", self._files("host-0001")[100])

    def directories(self):
        return {f"host-{number:04}": self.root / f"host-{number:04}" for number in range(self.number)}

    def _files(self, series):
        return sorted(str(path.relative_to(self.root / series)) for path in (self.root / series).rglob("*")
                      if path.is_file())

    def do_change(self, turn):
        names = self._files("host-0000")
        self.undo.append(self.places[self.watched[0]] / self.watched[1], b"# changed %d\n" % turn)
        for number, place in enumerate(self.places.values()):
            pick = random.Random(turn * 100_000 + number)
            for name in pick.sample(names, 2):
                self.undo.append(place / name, b"# changed %d on %d\n" % (turn, number))


class Checkpoints(Work):
    """A file that is rewritten again and again, each state of which counts."""
    small = True
    class_ = "checkpoints"
    bytes_each = 0
    file = "agent_robot-042.json"

    def make(self, scale):
        self.versions = max(10, int(1000 * scale))
        self.what = (f"{self.versions} versions of a checkpoint of {self.bytes_each / 1024:.0f} KiB, JSON, "
                     "rewritten in place")
        self.watched = ("data", self.file)
        self._write(next(self._texts()))

    def _texts(self):
        return checkpoints.versions(self.bytes_each, seed=5, count=self.versions)

    def _write(self, text):
        with open(self.root / self.file, "wb") as handle:
            handle.write(text)

    def rewrite(self):
        """Write one version after the other; yields the number of each once it is closed."""
        self.digests = []  # SHA-256 of each
        for number, text in enumerate(self._texts()):
            self._write(text)
            self.digests.append(hashlib.sha256(text).hexdigest())
            yield number

    def reset(self):
        self._write(next(self._texts()))
        self.expected = {}


class Checkpoints4K(Checkpoints):
    name = "checkpoint-4k"
    bytes_each = 4096


class Checkpoints200K(Checkpoints):
    name = "checkpoint-200k"
    bytes_each = 200 * 1024


ALL = (Tree, Mixed, Checkpoints4K, Checkpoints200K, Hosts, Log)
