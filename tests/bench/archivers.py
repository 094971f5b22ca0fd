"""Holdfast's peers, each used as its own manual says, behind one interface.

An archiver keeps snapshots of directories in one repository of its own, beneath the directory it is given. A series
is the snapshots of one directory, numbered from 0. Every method that does work returns its cost (measuring.py).
"""
import datetime
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import measuring


class Archiver:
    name = ""
    programs = ()
    note = ""  # what a reader of the table has to know
    one_file = True  # can bring back one file without all others

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.counts = {}  # snapshots of each series
        self.env = dict(os.environ, TZ="UTC", LC_ALL="C.UTF-8")
        self.start()

    @classmethod
    def lacking(cls):
        """Programs that it needs and that are not installed."""
        return [program for program in cls.programs if not shutil.which(program)]

    def start(self):
        """Make the repository."""

    def capture(self, path, series="main"):
        """Keep a snapshot of the directory."""
        number = self.counts.get(series, 0)
        cost = self._capture(pathlib.Path(path), series, number)
        self.counts[series] = number + 1
        return cost

    def restore(self, target, series="main", number=-1):
        """Bring the whole of a snapshot, the last unless given, back to a directory that doesn't exist."""
        pathlib.Path(target).mkdir()
        return self._restore(pathlib.Path(target), series, number % self.counts[series])

    def restore_file(self, relative, target, series="main", number=-1):
        """Bring one file of a snapshot back. Returns the cost and where the file is, beneath target."""
        pathlib.Path(target).mkdir()
        cost = self._restore_file(relative, pathlib.Path(target), series, number % self.counts[series])
        return cost, next(path for path in (pathlib.Path(target) / relative,
                                            pathlib.Path(target) / pathlib.Path(relative).name) if path.exists())

    def tidy(self):
        """What its manual asks for from time to time, before stored bytes are counted."""
        return {"wall_s": 0.0, "cpu_s": 0.0, "peak_bytes": 0}

    def stored(self):
        return measuring.size_of(self.directory / "repository")

    def beside(self):
        """Caches and indexes that it would make anew if they were lost."""
        return measuring.size_of(self.directory / "cache")

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, command, **options):
        return measuring.run(command, env=self.env, **options)


class Restic(Archiver):
    name = "restic"
    programs = ("restic",)

    def start(self):
        self.env |= {"RESTIC_REPOSITORY": str(self.directory / "repository"), "RESTIC_PASSWORD": "bench",
                     "RESTIC_CACHE_DIR": str(self.directory / "cache")}
        self._run(["restic", "init", "-q", "--repository-version", "2"])
        self.snapshots = {}

    def _capture(self, path, series, number):
        with tempfile.TemporaryFile() as output:
            cost = self._run(["restic", "backup", "-q", "--json", "--host", series, "."], cwd=path, output=output)
            output.seek(0)
            summary = json.loads(output.read().splitlines()[-1])
        self.snapshots[series, number] = summary["snapshot_id"]
        return cost

    def _restore(self, target, series, number):
        return self._run(["restic", "restore", "-q", self.snapshots[series, number], "--target", target])

    def _restore_file(self, relative, target, series, number):
        return self._run(["restic", "restore", "-q", self.snapshots[series, number], "--target", target,
                          "--include", f"/{relative}"])


class Borg(Archiver):
    name = "borg"
    programs = ("borg",)
    note = "borg: repokey, zstd; compacted before its bytes are counted"

    def start(self):
        self.env |= {"BORG_REPO": str(self.directory / "repository"), "BORG_PASSPHRASE": "bench",
                     "BORG_BASE_DIR": str(self.directory / "cache"),
                     # One client stands for many hosts: each of them would remember its own files.
                     "BORG_FILES_CACHE_TTL": "5000"}
        (self.directory / "cache").mkdir()
        self._run(["borg", "init", "--encryption", "repokey"])

    def _capture(self, path, series, number):
        return self._run(["borg", "create", "--compression", "zstd", f"::{series}-{number}", "."], cwd=path)

    def _restore(self, target, series, number):
        return self._run(["borg", "extract", f"::{series}-{number}"], cwd=target)

    def _restore_file(self, relative, target, series, number):
        return self._run(["borg", "extract", f"::{series}-{number}", relative], cwd=target)

    def tidy(self):
        return self._run(["borg", "compact"])


class Bup(Archiver):
    name = "bup"
    programs = ("bup", "git", "bash")
    note = "bup: no encryption"

    def start(self):
        self.env |= {"BUP_DIR": str(self.directory / "repository")}
        (self.directory / "cache").mkdir()
        self._run(["bup", "init"])

    def _date(self, number):
        return 1_700_000_000 + number

    def _snapshot(self, series, number):
        at = datetime.datetime.fromtimestamp(self._date(number), datetime.timezone.utc)
        return f"/{series}/{at:%Y-%m-%d-%H%M%S}/"

    def _capture(self, path, series, number):
        index = self.directory / "cache" / f"{series}.index"
        return self._run(["bash", "-c", 'bup index -f "$1" -u "$2" && bup save -q -f "$1" -n "$3" -d "$4" --strip "$2"',
                          "bup", index, path, series, self._date(number)])

    def _restore(self, target, series, number):
        return self._run(["bup", "restore", "-q", "-C", target, self._snapshot(series, number) + "."])

    def _restore_file(self, relative, target, series, number):
        return self._run(["bup", "restore", "-q", "-C", target, self._snapshot(series, number) + relative])


class Casync(Archiver):
    name = "casync"
    programs = ("casync",)
    note = "casync: no encryption; its one file of a tree would be a mount"
    one_file = False

    def start(self):
        (self.directory / "repository").mkdir()

    def _index(self, series, number):
        return self.directory / "repository" / f"{series}-{number}.caidx"

    def _store(self):
        return f"--store={self.directory / 'repository' / 'default.castr'}"

    def _capture(self, path, series, number):
        return self._run(["casync", "make", self._store(), self._index(series, number), path])

    def _restore(self, target, series, number):
        return self._run(["casync", "extract", self._store(), self._index(series, number), target])

    _restore_file = None


class Rsync(Archiver):
    name = "rsync"
    programs = ("rsync",)
    note = "rsync: to a daemon on loopback, --link-dest to the snapshot before; no encryption, no compression"

    def start(self):
        repository = self.directory / "repository"
        repository.mkdir()
        configuration = self.directory / "rsyncd.conf"
        configuration.write_text(f"use chroot = no\nreverse lookup = no\npid file = {self.directory}/rsyncd.pid\n"
                                 f"[bench]\npath = {repository}\nread only = no\nuid = {os.getuid()}\n"
                                 f"gid = {os.getgid()}\n")
        for _ in range(5):  # the port may be taken between its choice and its use
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.daemon = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={configuration}",
                                            "--address=127.0.0.1", f"--port={self.port}"], env=self.env,
                                           stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._listening():
                return
        raise measuring.Failed("the rsync daemon does not listen")

    def _listening(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.daemon.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.01)
        self._stop()
        return False

    def _stop(self):
        self.daemon.terminate()
        self.daemon.wait()

    def _url(self, series, number, relative=""):
        return f"rsync://127.0.0.1:{self.port}/bench/{series}-{number}/{relative}"

    def _rsync(self, *arguments):
        return self._run(["rsync", "-aHAX", *arguments], daemons=[self.daemon.pid])

    def _capture(self, path, series, number):
        before = [f"--link-dest=../{series}-{number - 1}"] if number else []
        # Else two versions of one size within a second are one to it.
        return self._rsync("--delete", "--modify-window=-1", *before, f"{path}/", self._url(series, number))

    def _restore(self, target, series, number):
        return self._rsync(self._url(series, number), f"{target}/")

    def _restore_file(self, relative, target, series, number):
        return self._rsync(self._url(series, number, relative), f"{target}/")

    def close(self):
        self._stop()
        super().close()


class TarZstd(Archiver):
    name = "tar|zstd"
    programs = ("tar", "zstd", "bash")
    note = "tar|zstd: level 3, a whole archive each time; no encryption"

    def start(self):
        (self.directory / "repository").mkdir()

    def _archive(self, series, number):
        return self.directory / "repository" / f"{series}-{number}.tar.zst"

    def _capture(self, path, series, number):
        return self._run(["bash", "-c", 'set -o pipefail; tar -C "$1" -cf - . | zstd -3 -q -o "$2"', "tar", path,
                          self._archive(series, number)])

    def _restore(self, target, series, number):
        return self._extract(series, number, target)

    def _restore_file(self, relative, target, series, number):
        return self._extract(series, number, target, f"./{relative}")

    def _extract(self, series, number, target, *members):
        return self._run(["bash", "-c", 'set -o pipefail; zstd -dcq "$1" | tar -C "$2" -xpf - "${@:3}"', "tar",
                          self._archive(series, number), target, *members])


class Copy(Archiver):
    name = "cp -a"
    programs = ("cp",)
    note = "cp -a: a whole copy each time; neither compressed nor encrypted"

    def start(self):
        (self.directory / "repository").mkdir()

    def _copy(self, series, number):
        return self.directory / "repository" / f"{series}-{number}"

    def _capture(self, path, series, number):
        return self._run(["cp", "-a", "--reflink=never", path, self._copy(series, number)])

    def _restore(self, target, series, number):
        return self._run(["cp", "-aT", "--reflink=never", self._copy(series, number), target])

    def _restore_file(self, relative, target, series, number):
        return self._run(["cp", "-a", "--reflink=never", self._copy(series, number) / relative, target])


ALL = (Restic, Borg, Bup, Casync, Rsync, TarZstd, Copy)
