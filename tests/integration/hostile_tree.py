"""Trees that nobody in his right mind would make, from a seed: names, types, sizes, times, modes,
attributes and links at random; and changes to them, one after the other."""
import os
import random
import shutil
import socket
import stat
import struct
import tempfile

SIZES = (0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 200_000, 524_288, 524_289, 1_500_000)
ROOT = os.geteuid() == 0


def makes_devices():
    """Whether we may make any device: not every root may."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            os.mknod(os.path.join(scratch, "disk"), stat.S_IFBLK, os.makedev(7, 250))
        except PermissionError:
            return False
    return True


MAKES_DEVICES = makes_devices()


def acl(user, rights):
    """An access list that gives one more user rights (acl(5), as Linux keeps it)."""
    entries = [(1, 6, 0xffffffff), (2, rights, user), (4, 4, 0xffffffff), (16, 7, 0xffffffff),
               (32, 0, 0xffffffff)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


class Tree:
    """The tree beneath a directory, which is there. All paths are bytes."""

    def __init__(self, directory, seed):
        self.top = os.fsencode(directory)
        self.random = random.Random(seed)
        self.serial = 0

    # --- what there is ---

    def all(self, wanted):
        found = []
        for where, directories, files in os.walk(self.top):
            for name in directories + files:
                path = os.path.join(where, name)
                if wanted(os.lstat(path).st_mode):
                    found.append(path)
        return sorted(found)

    def directories(self):
        return [self.top] + self.all(stat.S_ISDIR)

    def pick(self, wanted):
        found = self.all(wanted)
        return self.random.choice(found) if found else None

    # --- what is made ---

    def name(self):
        self.serial += 1
        length = self.random.choice((1, 3, 8, 40, 240))
        letters = bytes(self.random.choice(self.alphabet()) for _ in range(length))
        return letters + b"%d" % self.serial

    def alphabet(self):
        kind = self.random.randrange(4)
        if kind == 0:
            return bytes(range(1, 47)) + bytes(range(48, 256))   # all but NUL and the slash
        if kind == 1:
            return b"\n\t \\\"'*?[]{}$`;&|<>%:-~#\x7f\x1b"
        if kind == 2:
            return "äöüßéñ日本語".encode()
        return b"abcdefghijklmnopqrstuvwxyz._-"

    def place(self):
        """A path that isn't taken, in any directory that has room for it."""
        while True:
            path = os.path.join(self.random.choice(self.directories()), self.name())
            if len(path) < 3500 and not os.path.lexists(path):
                return path

    def content(self):
        size = self.random.choice(SIZES) + self.random.randrange(3)
        kind = self.random.randrange(3)
        if kind == 0:
            return self.random.randbytes(size)
        if kind == 1:
            return (b"the same line over and over\n" * (size // 28 + 1))[:size]
        return bytes(size)

    def make_file(self):
        path = self.place()
        with open(path, "wb") as file:
            file.write(self.content())
        self.dress(path)

    def make_sparse(self):
        path = self.place()
        with open(path, "wb") as file:
            for _ in range(self.random.randrange(4)):
                file.seek(self.random.randrange(6 << 20))
                file.write(self.random.randbytes(self.random.randrange(1, 9000)))
            file.truncate(self.random.choice((6 << 20, (9 << 20) + 1, 40_000, 300_000)) +
                          file.tell() * self.random.randrange(2))

    def make_directory(self):
        path = self.place()
        os.mkdir(path)
        self.dress(path)

    def make_link(self):
        target = self.random.choice((b"..", b"/nowhere", b"a\nb", b"x" * 1000, self.name(),
                                     self.pick(stat.S_ISREG) or b"."))
        os.symlink(target, self.place())

    def make_name(self):
        path = self.pick(lambda mode: stat.S_ISREG(mode) or stat.S_ISLNK(mode))
        if path:
            os.link(path, self.place(), follow_symlinks=False)

    def make_device(self):
        kind, numbers = self.random.choice(((stat.S_IFCHR, (0, 0)), (stat.S_IFCHR, (1, 3)), (stat.S_IFBLK, (7, 250)),
                                            (stat.S_IFBLK, (259, 1_000_000))))
        path = self.place()
        if not MAKES_DEVICES:
            return
        os.mknod(path, kind | 0o600, os.makedev(*numbers))
        os.chmod(path, self.random.choice((0o600, 0o666, 0o640)))

    def make_special(self):
        """What is left out, with a note."""
        path = self.place()
        if self.random.randrange(2):
            os.mkfifo(path)
            return
        with socket.socket(socket.AF_UNIX) as unix:
            here = os.open(os.path.dirname(path), os.O_PATH)
            name = os.path.basename(path)[-20:]
            try:
                unix.bind(b"/proc/self/fd/%d/s%s" % (here, name))
            except OSError:
                pass
            finally:
                os.close(here)

    def dress(self, path):
        """Mode, owner, attributes, time."""
        directory = os.path.isdir(path)
        if self.random.randrange(3) == 0:
            os.setxattr(path, b"user." + self.random.choice((b"a", b"b", b"\xff")),
                        self.random.randbytes(self.random.randrange(40)))
        if self.random.randrange(5) == 0:
            os.setxattr(path, "system.posix_acl_access", acl(self.random.randrange(1, 60000), 5))
        if directory and self.random.randrange(6) == 0:
            os.setxattr(path, "system.posix_acl_default", acl(self.random.randrange(1, 60000), 7))
        if ROOT and self.random.randrange(4) == 0:
            os.chown(path, self.random.randrange(1, 70000), self.random.randrange(1, 70000))
        mode = self.random.choice((0o600, 0o644, 0o755, 0o777, 0o640, 0o1777 if directory else 0o444))
        os.chmod(path, mode | (0o700 if directory else 0))
        os.utime(path, ns=(0, self.random.randrange(0, 4_000_000_000_000_000_000)))

    # --- what changes ---

    def rewrite(self):
        path = self.pick(stat.S_ISREG)
        if path:
            with open(path, "wb") as file:
                file.write(self.content())

    def append(self):
        path = self.pick(stat.S_ISREG)
        if path:
            with open(path, "ab") as file:
                file.write(self.random.randbytes(self.random.randrange(1, 5000)))

    def redress(self):
        path = self.pick(lambda mode: not stat.S_ISLNK(mode) and
                         (stat.S_ISREG(mode) or stat.S_ISDIR(mode)))
        if path:
            self.dress(path)

    def remove(self):
        path = self.pick(lambda mode: not stat.S_ISDIR(mode))
        if path:
            os.unlink(path)

    def remove_tree(self):
        path = self.pick(stat.S_ISDIR)
        if path and sum(len(files) for _, _, files in os.walk(path)) < 20:
            shutil.rmtree(path)

    def rename(self):
        path = self.pick(lambda mode: True)
        target = self.place()
        if path and not (target + b"/").startswith(path + b"/") and \
                len(target) + max((len(p) - len(path) for p in self.all(lambda mode: True)
                                   if p.startswith(path + b"/")), default=0) < 3500:
            os.rename(path, target)

    def replace(self):
        """A file becomes a directory, or another file, or a link becomes a file."""
        path = self.pick(lambda mode: not stat.S_ISDIR(mode))
        if path:
            os.unlink(path)
            if self.random.randrange(2):
                os.mkdir(path)
            else:
                with open(path, "wb") as file:
                    file.write(self.content())

    def grow(self, count):
        kinds = (self.make_file, self.make_file, self.make_file, self.make_directory,
                 self.make_directory, self.make_link, self.make_name, self.make_sparse, self.make_device)
        for _ in range(count):
            self.random.choice(kinds)()

    def change(self, count):
        kinds = (self.make_file, self.make_directory, self.make_link, self.make_name,
                 self.make_sparse, self.make_device, self.rewrite, self.rewrite, self.append, self.append,
                 self.redress, self.remove, self.remove_tree, self.rename, self.rename,
                 self.replace)
        for _ in range(count):
            self.random.choice(kinds)()
