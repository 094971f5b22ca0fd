"""Nothing that a file is gets lost: capture, wipe, restore, and rsync finds no difference."""
import os
import re
import shutil
import stat
import struct
import subprocess
import time

import pytest

from fleet import Fleet, now, wait_until
from holes import filled, sparse_files
from hostile_tree import MAKES_DEVICES, Tree, acl
from mount_namespace import begin_with, can_mount

ROOT = os.geteuid() == 0
ACCESS, DEFAULT, CAPS = ("system.posix_acl_access", "system.posix_acl_default",
                         "security.capability")


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


def capability():
    """cap_net_bind_service=ep (capabilities(7))."""
    return struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def differences(one, other):
    """What rsync would do to make other like one, pipes and sockets apart; it compares times to the nanosecond."""
    done = subprocess.run(
        ["rsync", "-aHAXn", "--no-specials", "--info=nonreg0", "--checksum", "--delete", "--itemize-changes", "--modify-window=-1",
         os.fsencode(one) + b"/", os.fsencode(other) + b"/"], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode(errors="backslashreplace").splitlines()


def keep_copy(tree, where):
    subprocess.run(["rsync", "-aHAX", "--sparse", "--modify-window=-1", f"{tree}/", f"{where}/"], check=True)


def wipe(directory):
    shutil.rmtree(directory)
    directory.mkdir()


def blocks(path):
    return os.stat(path).st_blocks


def make_tree(host):
    data = host.path("data")
    host.write("data/one/a", "shared by three names")
    os.link(data / "one/a", data / "b")
    (data / "two").mkdir()
    os.link(data / "one/a", data / "two/c")
    host.write("data/large", os.urandom(700_000))
    os.link(data / "large", data / "large too")
    host.write("data/alike 1", "the same bytes")
    shutil.copy2(host.write("data/alike 2", "the same bytes"), data / "alike 1")
    os.symlink("one/a", data / "link")
    os.symlink(b"\xff\n" + b"/t" * 2046 + b"x", data / "link of the longest")
    os.link(data / "link", data / "link too", follow_symlinks=False)
    with open(data / "holes", "wb") as file:
        for at in 0, 3 << 20, 40 << 20:
            file.seek(at)
            file.write(os.urandom(10_000))
        file.truncate(100 << 20)
    with open(data / "small holes", "wb") as file:
        file.seek(50_000)
        file.write(b"x")
    os.truncate(host.write("data/all hole", b""), 1 << 30)
    tagged = host.write("data/tagged", "t")
    os.setxattr(tagged, "user.empty", b"")
    os.setxattr(tagged, "user.binary", bytes(range(256)))
    os.setxattr(tagged, "user.\u00e4", b"name")
    os.setxattr(data / "two", "user.of a directory", b"yes")
    (data / "empty").mkdir(mode=0o710)
    with open(os.fsencode(data) + b"/\xff\n\x01 ", "wb") as file:
        file.write(b"a name of any bytes")
    os.setxattr(host.write("data/shared", "s"), ACCESS, acl(12345, 6))
    (data / "inherits").mkdir()
    os.setxattr(data / "inherits", DEFAULT, acl(12345, 7))
    host.write("data/inherits/file", "gets an access list by itself")
    os.chown(host.write("data/numbered", "n"), 54321, 54322) if ROOT else None
    host.path("data/one").chmod(0o2775)
    host.path("data/empty").chmod(0o1777)
    for path in "empty", "one", "two", "inherits":
        os.utime(data / path, ns=(1_600_000_000_000_000_001,) * 2)


def test_a_wiped_tree_comes_back_as_rsync_sees_it(fleet, tmp_path):
    host = fleet.add_host("faithful")
    make_tree(host)
    fleet.wait()
    moment = now()
    keep_copy(host.path("data"), tmp_path / "copy")
    room = {name: blocks(host.path("data") / name) for name in ("holes", "small holes", "all hole")}
    time.sleep(0.05)
    wipe(host.path("data"))
    fleet.wait()
    fleet.restore("faithful:data", "--at", moment)
    assert differences(tmp_path / "copy", host.path("data")) == []
    for name, before in room.items():
        assert blocks(host.path("data") / name) <= before + 16, name
    # What came back is on record as what it is: nothing is captured as another change.
    fleet.wait()
    versions = fleet.versions(host, "data", "data/two/c")
    assert versions[0].get("restored_by") and versions[1]["type"] == "absent"
    assert versions[0]["link"] != versions[2]["link"]
    assert len({fleet.versions(host, "data", f"data/{name}")[0]["link"]
                for name in ("one/a", "b", "two/c")}) == 1
    # And a second restore finds nothing to do.
    job = fleet.restore("faithful:data", "--at", moment)
    assert differences(tmp_path / "copy", host.path("data")) == []
    assert "0 B sent" in job, job


def test_a_download_has_all_that_a_tar_can_hold(fleet, tmp_path):
    host = fleet.add_host("downloaded")
    make_tree(host)
    os.setxattr(host.path("data/tagged"), "user.a=b%c", b"=\n\0")
    host.path("data/all hole").unlink()             # tar writes it out: too long for a test
    fleet.wait()
    fleet.cli("download", "downloaded:data", "--output", tmp_path / "data.tar")
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "data.tar", "-C",
                    tmp_path / "out"], check=True)
    assert differences(host.path("data"), f"{tmp_path}/out{host.path('data')}") == []


def test_names_of_a_file_that_were_parted_become_names_of_one_again(fleet):
    host = fleet.add_host("parted")
    one = host.write("data/1", "one file of four names")
    for name in "2", "3", "4":
        os.link(one, host.path(f"data/{name}"))
    fleet.wait()
    moment = now()
    time.sleep(0.05)
    host.path("data/3").unlink()             # one is lost,
    host.path("data/4").unlink()             # another is a copy, alike in all else
    shutil.copy2(one, host.path("data/4"))
    fleet.wait()
    fleet.restore("parted:data", "--at", moment)
    assert len({host.path(f"data/{name}").stat().st_ino for name in "1234"}) == 1
    assert host.path("data/3").read_text() == "one file of four names"
    assert one.stat().st_nlink == 4


def test_what_is_written_by_one_name_is_captured_for_all(fleet):
    host = fleet.add_host("written")
    host.write("data/dir/a", "before")
    host.path("data/other").mkdir()
    os.link(host.path("data/dir/a"), host.path("data/other/b"))
    fleet.wait()
    links = [fleet.versions(host, "data", f"data/{name}")[0]["link"] for name in ("dir/a", "other/b")]
    assert links[0] == links[1]
    before = len(fleet.versions(host, "data", "data/dir/a"))
    with open(host.path("data/other/b"), "a") as file:
        file.write(" and after")
    wait_until(lambda: len(fleet.versions(host, "data", "data/dir/a")) > before,
               "the other name is captured")
    # A name that comes makes links of both; one that goes leaves a file of one name.
    host.write("data/single", "of one name")
    fleet.wait()
    assert "link" not in fleet.versions(host, "data", "data/single")[0]
    os.link(host.path("data/single"), host.path("data/other/double"))
    wait_until(lambda: "link" in fleet.versions(host, "data", "data/single")[0],
               "the first name knows of the second")
    host.path("data/other/double").unlink()
    wait_until(lambda: "link" not in fleet.versions(host, "data", "data/single")[0],
               "the first name knows that it is alone")


def test_an_attribute_that_comes_changes_or_goes_is_a_version(fleet):
    host = fleet.add_host("attributes")
    path = host.write("data/f", "f")
    fleet.wait()
    moments = []
    for value in b"1", b"2":
        os.setxattr(path, "user.tag", value)
        time.sleep(0.3)
        fleet.wait()
        moments.append(now())
    os.removexattr(path, "user.tag")
    time.sleep(0.3)
    fleet.wait()
    assert [version.get("xattrs") for version in fleet.versions(host, "data", "data/f")] == [
        None, ["user.tag"], ["user.tag"], None]
    fleet.restore("attributes:data", "--at", moments[0])
    assert os.getxattr(path, "user.tag") == b"1"
    fleet.restore("attributes:data", "--at", moments[1])
    assert os.getxattr(path, "user.tag") == b"2"


@pytest.mark.skipif(not ROOT, reason="only root can give files such powers")
@pytest.mark.parametrize("allowed", [False, True])
def test_powers_come_back_only_where_the_administrator_takes_them(fleet, allowed):
    host = fleet.add_host(f"powers-{allowed}", start=False)
    host.configure(host.source("data", **({"restore_privileged": "yes"} if allowed else {})))
    host.start()
    program = host.write("data/program", "#!/bin/sh\n")
    program.chmod(0o4755)
    os.setxattr(host.write("data/binds", "b"), CAPS, capability())
    os.setxattr(host.path("data/binds"), "user.plain", b"1")
    fleet.wait()
    moment = now()
    time.sleep(0.05)
    wipe(host.path("data"))
    fleet.wait()
    fleet.restore(f"powers-{allowed}:data", "--at", moment)
    assert os.stat(program).st_mode & 0o7777 == (0o4755 if allowed else 0o755)
    attributes = set(os.listxattr(host.path("data/binds")))
    assert attributes == ({"user.plain", CAPS} if allowed else {"user.plain"})


@pytest.mark.skipif(not MAKES_DEVICES, reason="only root can make devices, and not every root")
@pytest.mark.parametrize("allowed", [False, True])
def test_devices_come_back_where_the_administrator_takes_them(fleet, tmp_path, allowed):
    name = f"devices-{allowed}"
    host = fleet.add_host(name, start=False)
    host.configure(host.source("data", **({"restore_privileged": "yes"} if allowed else {})))
    host.start()
    host.write("data/file", "beside them")
    data = host.path("data")
    (data / "dev").mkdir()
    os.mknod(data / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.link(data / "dev/null", data / "dev/null too")
    os.mknod(data / "dev/disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    os.chown(data / "dev/disk", 0, 54321)
    os.setxattr(data / "dev/disk", ACCESS, acl(12345, 6))
    os.mknod(data / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    fleet.wait()
    assert "left out" not in note_of(fleet, host)
    listed = fleet.cli("ls", host.target("data", "data/dev"))
    assert re.search(r"^brw-rw\S+ +root:54321 +259:70000 .*/dev/disk$", listed, re.M), listed
    moment = now()
    keep_copy(data, tmp_path / "copy")
    time.sleep(0.05)
    wipe(data)
    fleet.wait()
    done = fleet.restore(f"{name}:data", "--at", moment, check=allowed)
    if not allowed:
        assert done.returncode != 0 and "restore_privileged = yes" in done.stdout + done.stderr
        assert sorted(os.listdir(data)) == ["dev", "file"] and not os.listdir(data / "dev")
        return
    assert differences(tmp_path / "copy", data) == []
    # What came back is on record as what it is, and there is nothing more to do.
    fleet.wait()
    assert fleet.versions(host, "data", "data/dev/disk")[0].get("restored_by")
    (tmp_path / "out").mkdir()
    fleet.cli("download", f"{name}:data", "--at", moment, "--output", tmp_path / "data.tar")
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "data.tar", "-C", tmp_path / "out"],
                   check=True)
    assert differences(tmp_path / "copy", f"{tmp_path}/out{data}") == []


@pytest.mark.skipif(not ROOT or not can_mount(), reason="only root can give files away, and mount")
def test_owners_come_back_by_name_and_those_without_one_by_number(fleet):
    host = fleet.add_host("named", start=False)
    users, groups = host.directory / "passwd", host.directory / "group"

    def names(robot, robots, more=""):
        """Who has them on this host, from now on."""
        users.write_text(f"root:x:0:0::/:/bin/sh\nrobot:x:{robot}:{robots}::/:/bin/sh\n{more}")
        groups.write_text(f"root:x:0:\nrobots:x:{robots}:\n")

    def owner(name):
        status = os.lstat(host.path("data") / name)
        return status.st_uid, status.st_gid

    names(4001, 6001)
    host.write("data/file", "f")
    host.path("data/directory").mkdir()
    os.symlink("nowhere", host.path("data/link"))
    for name in "file", "directory", "link":
        os.lchown(host.path("data") / name, 4001, 6001)
    os.chown(host.write("data/number", "n"), 54321, 54322)
    begin_with(host, 'mount --bind "$1" /etc/passwd; mount --bind "$2" /etc/group', users, groups)
    host.start()
    fleet.wait()
    for name in "file", "directory", "link":
        version = fleet.versions(host, "data", f"data/{name}")[0]
        assert (version["owner"], version["group"], version["uid"], version["gid"]) == ("robot", "robots", 4001, 6001)
    version = fleet.versions(host, "data", "data/number")[0]
    assert (version["owner"], version["group"]) == ("", "")
    moment = now()
    time.sleep(0.05)
    wipe(host.path("data"))
    fleet.wait()
    names(5001, 7001)                               # the same names, of other numbers
    fleet.restore("named:data", "--at", moment)
    assert [owner(name) for name in ("file", "directory", "link")] == [(5001, 7001)] * 3
    assert owner("number") == (54321, 54322)
    # Who gets a name later has it in what is captured later.
    names(5001, 7001, "late:x:54321:0::/:/bin/sh\n")
    def captured():
        os.utime(host.path("data/number"))
        fleet.wait()
        return fleet.versions(host, "data", "data/number")[0]["owner"]
    wait_until(lambda: captured() == "late", "the new name", pause=0.5)


def note_of(fleet, host):
    return [source["note"] for source in fleet.json("sources")["sources"]
            if source["host_name"] == host.name][0]


def deep_path(top):
    """Directories in each other until a path is as long as can be."""
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    length = len(os.fsencode(top))
    name = b"d" * 200
    while length + 1 + len(name) + 10 < 4095:
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here, length = below, length + 1 + len(name)
    last = b"f" * min(4095 - length - 1, 255)
    file = os.open(last, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here)
    os.write(file, b"at the end of it")
    os.close(file)
    os.close(here)


def at_the_end_of(top):
    """Make a directory in a directory, and so on, as many as fit into a path; the path of a file in the last."""
    here, path = os.open(top, os.O_RDONLY | os.O_DIRECTORY), os.fsencode(top)
    while len(path) + len(b"/d/f") <= 4095:
        os.mkdir(b"d", dir_fd=here)
        below = os.open(b"d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here, path = below, path + b"/d"
    os.close(here)
    return path + b"/f"


def test_directories_in_each_other_come_back_as_deep_as_a_path_can_be(fleet):
    host = fleet.add_host("deep", start=False)
    host.configure(host.source("data", rescan="1h", verify="1h"))
    # It may not open as many files as there are directories.
    host.command = ["sh", "-c", 'ulimit -n 400; exec "$@"', "sh", *host.command]
    path = at_the_end_of(host.path("data"))
    try:
        with open(path, "w") as file:
            file.write("one")
        os.mkdir(os.path.dirname(os.path.dirname(path)) + b"/e")  # beside one of the last
        host.start()
        fleet.wait()
        assert fleet.source(host)["live_files"] == path.count(b"/d") - bytes(host.path("data")).count(b"/d") + 3
        assert fleet.source(host)["note"] == ""
        with open(path, "w") as file:
            file.write("two")
        fleet.wait()
        assert len(fleet.versions(host, "data", os.fsdecode(path))) == 2
        moment = now()
        time.sleep(0.05)
        subprocess.run(["rm", "-r", host.path("data/d")], check=True)  # Python's would go too deep for itself
        fleet.wait()
        assert fleet.source(host)["live_files"] == 1
        fleet.restore("deep:data", "--at", moment)
        with open(path) as file:
            assert file.read() == "two"
        assert os.path.isdir(os.path.dirname(os.path.dirname(path)) + b"/e")
    finally:
        subprocess.run(["rm", "-rf", host.path("data/d")], check=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tree_of_hostile_names_and_types_comes_back(fleet, seed):
    host = fleet.add_host(f"hostile-{seed}", start=False)
    host.configure(host.source("data", restore_privileged="yes"))
    host.start()
    tree = Tree(host.path("data"), seed)
    tree.grow(150)
    deep_path(host.path("data"))
    fleet.wait()
    moment = now()
    copy = host.directory / "copy"  # its path is no longer than the tree's: rsync can go wherever that goes
    keep_copy(host.path("data"), copy)
    tree.make_special()
    tree.make_special()
    fleet.wait()
    wait_until(lambda: "left out" in note_of(fleet, host), "the note of what is left out")
    holes = sparse_files(host.path("data"))
    assert holes
    time.sleep(0.05)
    wipe(host.path("data"))
    fleet.wait()
    fleet.restore(f"{host.name}:data", "--at", moment)
    assert differences(copy, host.path("data")) == []
    assert filled(holes, host.path("data")) == {}


def test_ten_moments_of_a_tree_that_changes_at_random_come_back(fleet, tmp_path):
    host = fleet.add_host("moments", start=False)
    back = host.directory / "back"
    back.mkdir()
    host.configure(host.source("data", restore_root=back, restore_privileged="yes"))
    host.start()
    tree = Tree(host.path("data"), 3)
    tree.grow(60)
    moments = []
    for i in range(10):
        tree.change(25)
        fleet.wait()
        moments.append(now())
        keep_copy(host.path("data"), tmp_path / f"copy{i}")
        time.sleep(0.05)
    for i in tree.random.sample(range(10), 10):
        fleet.restore("moments:data", "--at", moments[i], "--to", back / str(i))
        restored = f"{back / str(i)}{host.path('data')}"
        assert differences(tmp_path / f"copy{i}", restored) == [], i


def pieces(path):
    """What a file holds besides holes: offset of each stretch of data, and the data."""
    found = []
    with open(path, "rb") as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, os.pread(file.fileno(), at - start, start)))
    return size, found


def test_twenty_gigabytes_that_are_hardly_there_come_back_as_that(fleet):
    host = fleet.add_host("endless")
    path = host.path("data/disk.img")
    with open(path, "wb") as file:
        for at in 0, 1 << 30, 7 << 30, (20 << 30) - 12_288:
            os.pwrite(file.fileno(), os.urandom(12_288), at)
    before, room = pieces(path), blocks(path)
    fleet.wait()
    moment = now()
    with open(path, "r+b") as file:                 # a little changes
        os.pwrite(file.fileno(), b"changed", 7 << 30)
    fleet.wait()
    assert len(fleet.versions(host, "data", "data/disk.img")) == 2
    time.sleep(0.05)
    path.unlink()
    fleet.wait()
    fleet.restore("endless:data", "--at", moment)
    assert pieces(path) == before
    assert blocks(path) <= room + 16
    job = fleet.json("jobs", "--all", "--host", "endless")["jobs"][0]
    assert job["bytes"]["fetched"] < 4_000_000, job
