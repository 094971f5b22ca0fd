"""What a process asks of the disk, by strace."""
import os
import re
import signal
import subprocess

from fleet import wait_until


class Traced:
    """What a process asks the kernel about files, while the block runs; with names, also which file a descriptor is."""

    def __init__(self, pid, log, names=False):
        self.pid, self.log, self.options = pid, log, ["-y"] if names else []

    def __enter__(self):
        # Everything that names a path or lists a directory, and everything that looks at an open file.
        calls = "%file,%stat,%lstat,%fstat,%statfs,%fstatfs,getdents,getdents64,inotify_add_watch,pread64,preadv"
        self.tracer = subprocess.Popen(["strace", "-f", "-qq", *self.options, "-e", f"trace={calls}", "-e", "signal=none", "-o", self.log,
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
