"""A clock that is set and a disk that fails, for some processes alone: tests/faults is loaded before its libraries."""
import errno
import os
import struct
import time

from fleet import BUILD

LIBRARY = BUILD / "tests/faults/faults.so"
READS = struct.Struct("=QQQq")  # error, device, inode, offset
COUNT_AT, SETTINGS_AT, SETTING = 32, 40, struct.Struct("=qq")


class Faults:
    """Those of processes that get its environment."""

    def __init__(self, directory):
        path = directory / "faults"
        path.write_bytes(bytes(4096))
        self.file = os.open(path, os.O_RDWR)
        self.settings = 0
        self.environment = {"LD_PRELOAD": str(LIBRARY), "HOLDFAST_FAULTS": str(path),
                            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.file)

    def preload(self, process):
        """Into one that is not started yet."""
        process.env = dict(os.environ, **self.environment)

    def set_clock(self, ahead_s):
        """From now on the processes' clock, and that of the kernel as they see it, is ahead of this machine's by this
        much, or behind it."""
        os.pwrite(self.file, SETTING.pack(time.time_ns(), ahead_s * 1_000_000_000),
                  SETTINGS_AT + self.settings * SETTING.size)
        self.settings += 1
        os.pwrite(self.file, struct.pack("=Q", self.settings), COUNT_AT)

    def fail_reads(self, path, offset=0, error=errno.EIO):
        """Reading that file from there on, or listing that directory, gives an error."""
        status = os.stat(path)
        os.pwrite(self.file, READS.pack(0, status.st_dev, status.st_ino, offset), 0)
        os.pwrite(self.file, struct.pack("=Q", error), 0)

    def end_failing(self):
        os.pwrite(self.file, struct.pack("=Q", 0), 0)
