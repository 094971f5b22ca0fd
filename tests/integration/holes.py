"""How much room files with holes take, before and after."""
import os
import stat

# In blocks of 512 bytes, a file: file systems allocate around what is written, by pages and for their own lists of it.
TOLERANCE_BLOCKS = 16


def sparse_files(tree):
    """Path beneath the tree: blocks, of each file that takes less room than it is long, by more than the tolerance."""
    tree = os.fsencode(tree)
    found = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_blocks + TOLERANCE_BLOCKS < status.st_size // 512:
                found[os.path.relpath(path, tree)] = status.st_blocks
    return found


def filled(before, tree):
    """Those of them that take more room now, with both numbers of blocks."""
    tree = os.fsencode(tree)
    now = {path: os.lstat(os.path.join(tree, path)).st_blocks for path in before}
    return {path: (before[path], now[path]) for path in before if now[path] > before[path] + TOLERANCE_BLOCKS}
