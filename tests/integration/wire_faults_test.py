"""What the collector does with agents that are broken, old, hostile or unlucky, over real mTLS.

Each test is a conversation by holdfast_wire, which shares no code with Holdfast. After each the
collector still runs and still serves: an honest session follows.
"""
import os
import random
import socket
import ssl
import struct
import subprocess
import time

import msgpack
import pytest

import holdfast_wire as wire
from fleet import Fleet

HEADER = struct.Struct(">BBQ")  # a WebSocket frame of more than 65535 bytes, masked with zeros


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as fleet:
        yield fleet


@pytest.fixture(scope="module")
def robot(fleet):
    """An enrolled host without an agent: the tests are its agent."""
    return fleet.add_host("robot-wire", start=False)


@pytest.fixture(scope="module")
def other(fleet):
    return fleet.add_host("robot-other", start=False)


def connect(fleet, host, **options):
    return wire.Client(("localhost", int(fleet.collector.ports["agents"])),
                       host.directory / "identity/agent.pem",
                       fleet.collector.directory / "ca/root.pem", **options)


def session(fleet, host, **changes):
    """An open session. The one before may not be seen to have ended yet."""
    while True:
        client = connect(fleet, host)
        try:
            client.hello(**changes)
            return client
        except wire.Ended as ended:
            client.cut()
            if ended.code != wire.DUPLICATE:
                raise
            time.sleep(0.05)


@pytest.fixture()
def agent(fleet, robot):
    with session(fleet, robot) as client:
        yield client


@pytest.fixture(autouse=True)
def an_honest_session_is_served_afterwards(fleet, robot):
    yield
    assert fleet.collector.running(), fleet.collector.output()[-5000:]
    with session(fleet, robot) as client:
        state = client.open_source(1, "honest")
        client.store(1, state["version_seq"] + 1, "etc/honest", os.urandom(20))


def refused(client):
    """The code of the GOAWAY that ends the session; it must say why in a sentence."""
    goaway = client.goaway()
    assert goaway is not None, "the session ended without a word"
    assert len(goaway["message"]) > 10
    return goaway["code"]


def memory_bytes(fleet):
    with open(f"/proc/{fleet.collector.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def sanitized(fleet):
    """A sanitizer's own memory hides what the collector takes."""
    with open(f"/proc/{fleet.collector.pid}/maps") as maps:
        return "asan" in maps.read()


def a_hello(**changes):
    fields = {"version_min": 1, "version_max": 1, "capabilities": [], "agent_version": "x",
              "hostname": "h", "machine_id": "m", "os": "o", "now": time.time_ns(),
              "instance": bytes(16)}
    fields.update(changes)
    return wire.encode("HELLO", 1, check=False, **fields)


# --- torn and truncated ---

def test_a_frame_cut_anywhere_is_refused_with_a_reason(fleet, robot):
    whole = a_hello()
    for size in range(len(whole)):
        with connect(fleet, robot) as client:
            client.send_raw(whole[:size])
            assert refused(client) == wire.MALFORMED, size


def test_bytes_behind_a_frame_are_refused(fleet, robot):
    with connect(fleet, robot) as client:
        client.send_raw(a_hello() + b"\xc0")
        assert refused(client) == wire.MALFORMED


def test_what_was_on_its_way_when_the_connection_was_cut_was_never_acknowledged(fleet, robot):
    """Cut within the bytes of VERSIONS, at many places: the version is there whole or not at all,
    and the next session says which."""
    content = os.urandom(300)
    for part in range(0, 100, 7):
        with session(fleet, robot) as client:
            seq = client.open_source(1, "torn")["version_seq"] + 1
            client.send_chunks([wire.chunk(content)])
            message = wire.encode("VERSIONS", client.next_seq(), stream=1, versions=[
                wire.regular(seq, f"torn/{part}", [content])])
            head = b"\x82\xfe" + struct.pack(">H", len(message)) + bytes(4)
            client.send_stream((head + message)[:(len(head) + len(message)) * part // 100])
            client.cut()
        with session(fleet, robot) as client:
            assert client.open_source(1, "torn")["version_seq"] == seq - 1
            assert client.listing(1) == []


def test_a_message_may_come_in_pieces(fleet, robot):
    with connect(fleet, robot) as client:
        message = a_hello(instance=os.urandom(16))
        client.send_piece(message[:1], 2, False)
        for byte in message[1:-1]:
            client.send_piece(bytes([byte]), 0, False)
        client.send_piece(message[-1:], 0, True)
        try:
            client.sent_seq = 1
            client.credit = client.expect("WELCOME")["credit"]
        except wire.Ended as ended:
            assert ended.code == wire.DUPLICATE  # the session before is not seen to have ended


# --- oversized ---

def test_a_message_over_the_limit_is_refused_by_its_header_alone(fleet, agent):
    agent.send_stream(HEADER.pack(0x82, 0xff, wire.FRAME_MAX_BYTES + 1) + bytes(4) + b"x")
    assert refused(agent) == wire.TOO_LARGE


def test_a_message_that_claims_exabytes_is_refused(fleet, agent):
    agent.send_stream(HEADER.pack(0x82, 0xff, 1 << 62) + bytes(4) + b"x" * 100)
    goaway = agent.goaway()  # the WebSocket layer may refuse it before us
    assert goaway is None or goaway["code"] == wire.TOO_LARGE


def test_pieces_that_add_up_to_more_than_the_limit_are_refused(fleet, agent):
    piece = bytes(200 << 10)
    with pytest.raises((OSError, AssertionError, wire.Ended)):
        agent.send_piece(piece, 2, False)
        for _ in range(20):
            agent.send_piece(piece, 0, False)
        raise wire.Ended(None)
    assert refused(agent) == wire.TOO_LARGE


def test_the_largest_frame_is_taken(fleet, agent):
    content = [os.urandom(wire.CHUNK_MAX_BYTES), os.urandom(wire.CHUNK_MAX_BYTES - 400)]
    seq = agent.open_source(1, "large")["version_seq"] + 1
    agent.send_chunks([wire.chunk(piece) for piece in content])
    agent.send_versions(1, [wire.regular(seq, "large", content)])
    agent.wait_acked(1, seq)


@pytest.mark.parametrize("change", [
    {"hostname": "x" * 1025}, {"capabilities": ["x"] * 33}, {"now": 1 << 62},
    {"version_max": 1 << 32}, {"instance": bytes(17)}, {"now": (1 << 64) - 1}])
def test_a_field_over_its_limit_is_too_large(fleet, robot, change):
    with connect(fleet, robot) as client:
        client.send_raw(a_hello(**change))
        assert refused(client) == wire.TOO_LARGE


# --- msgpack that lies ---

BOMBS = {
    "an array of 2^28 in five bytes": b"\xdd\x10\x00\x00\x00",
    "an array of 2^32 - 1": b"\xdd\xff\xff\xff\xff",
    "a map of 2^32 - 1": b"\xdf\xff\xff\xff\xff",
    "text of 4 GiB": b"\x92\x01\xdb\xff\xff\xff\xff",
    "a MiB of nils": b"\xdd\x00\x0f\xff\xfb" + b"\xc0" * ((1 << 20) - 5),
    "a MiB of nested arrays": b"\x91" * (1 << 20),
    "trailing nils by the hundred thousand":
        a_hello()[:0] + b"\x9c" + a_hello()[1:] + b"\xdd\x00\x03\x00\x00" + b"\xc0" * 0x30000,
    "a byte that msgpack does not use": b"\xc1",
    "nothing": b"",
    "JSON": b'{"type": "HELLO"}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_msgpack_that_claims_too_much_costs_nothing(fleet, robot, name):
    before = memory_bytes(fleet)
    for _ in range(3):
        with connect(fleet, robot) as client:
            client.send_raw(BOMBS[name])
            assert refused(client) in (wire.MALFORMED, wire.TOO_LARGE)
    assert sanitized(fleet) or memory_bytes(fleet) - before < 32 << 20


# --- the wrong frame, at the wrong time, of the wrong version ---

def test_a_text_message_is_refused(fleet, agent):
    agent.send_raw("hello", opcode=1)
    assert refused(agent) == wire.MALFORMED


@pytest.mark.parametrize("low,high,remedy", [(2, 9, "update the collector"),
                                             (2, 4294967295, "update the collector")])
def test_no_version_in_common_says_which_end_to_update(fleet, robot, low, high, remedy):
    with connect(fleet, robot) as client:
        client.send_raw(a_hello(version_min=low, version_max=high))
        goaway = client.goaway()
    assert goaway["code"] == wire.NO_VERSION
    assert remedy in goaway["message"]


def test_an_agent_that_also_speaks_later_versions_is_welcome(fleet, robot):
    with session(fleet, robot, version_max=7, capabilities=["unheard-of"]) as client:
        assert client.welcome["version"] == 1
        assert client.welcome["capabilities"] == []


def test_how_content_is_cut_is_the_same_with_every_connection(fleet, robot):
    told = []
    for _ in range(2):
        with session(fleet, robot) as client:
            told.append(client.welcome["chunking"])
    assert told[0] == told[1] and len(told[0]) == 32 and len(set(told[0])) > 8


def test_frames_before_hello_are_refused(fleet, robot):
    for name, fields in [("LIST", {"stream": 1, "after": b""}),
                         ("SOURCE", {"stream": 1, "name": "a", "kind": "files", "class": "logs",
                                     "roots": []}),
                         ("CHUNK_GET", {"job": 1, "ids": bytes(32)}),
                         ("GOAWAY", {"code": 1, "retry_after_ms": 0, "message": ""})]:
        with connect(fleet, robot) as client:
            client.send_raw(wire.encode(name, 1, **fields))
            assert refused(client) == wire.STATE, name


def test_hello_twice_is_refused(fleet, agent):
    agent.send_raw(wire.pack([1, 2] + wire.msgpack.unpackb(a_hello())[2:]))
    assert refused(agent) == wire.STATE


@pytest.mark.parametrize("name,fields", [
    ("WELCOME", {"version": 1, "capabilities": [], "host": "h", "session": 1, "now": 1, "credit": 1,
                 "frame_max": 1048576, "ping_seconds": 20, "chunking": bytes(32)}),
    ("ACK", {"acks": []}), ("CREDIT", {"total": 1}), ("NEED", {"request": 1, "bitmap": b""}),
    ("SOURCE_STATE", {"stream": 1, "version_seq": 1, "files": 1, "dictionary": b""}),
    ("DICTIONARY", {"id": bytes(32), "bytes": b"x"}), ("RENEWED", {"chain": b""}),
    ("LISTING", {"stream": 1, "versions": [], "last": True}), ("RESTORE_CANCEL", {"job": 1}),
    ("RESTORE_PAGE", {"job": 1, "versions": [], "next_cursor": b"", "last": True})])
def test_frames_that_only_a_collector_sends_are_refused(fleet, agent, name, fields):
    agent.send(name, **fields)
    assert refused(agent) == wire.STATE


def test_an_unknown_type_is_refused_by_its_number(fleet, agent):
    agent.send_raw(wire.pack([999, agent.next_seq(), 1, 2, 3]))
    goaway = agent.goaway()
    assert goaway["code"] == wire.UNKNOWN_TYPE
    assert "999" in goaway["message"]


def test_fields_of_a_later_version_are_ignored(fleet, agent):
    fields = [agent.next_seq(), 1, "later", "files", "logs", [], {"new": [1, 2]}, None, 1.5]
    agent.send_raw(wire.pack([wire.TYPES["SOURCE"]] + fields))
    assert agent.expect("SOURCE_STATE")["stream"] == 1


# --- reordered and duplicated ---

@pytest.mark.parametrize("seqs", [(3, 2), (2, 2), (2, 4), (0,), (1,), ((1 << 64) - 1,)])
def test_frames_out_of_order_or_twice_end_the_session(fleet, agent, seqs):
    for seq in seqs:
        agent.send_raw(wire.encode("SOURCE", seq, stream=1, name="order", kind="files",
                                   roots=[], **{"class": "logs"}))
    assert refused(agent) == wire.MALFORMED


def test_versions_that_come_again_are_acknowledged_again_and_change_nothing(fleet, robot):
    content = b"twice\n"
    with session(fleet, robot) as client:
        seq = client.open_source(1, "twice")["version_seq"] + 1
        client.store(1, seq, "twice", content)
    before = fleet.json("versions", "robot-wire:twice/twice")["versions"]
    with session(fleet, robot) as client:
        assert client.open_source(1, "twice")["version_seq"] == seq
        for _ in range(3):
            client.acked.clear()
            client.send_chunks([wire.chunk(content)])
            client.send_versions(1, [wire.regular(seq, "twice", [b"another"])])
            client.wait_acked(1, seq)
        assert client.listing(1)[0]["refs"] == wire.references([content])
    assert fleet.json("versions", "robot-wire:twice/twice")["versions"] == before


def test_a_version_like_the_live_one_is_acknowledged_but_not_history(fleet, robot):
    with session(fleet, robot) as client:
        seq = client.open_source(1, "same")["version_seq"] + 1
        client.store(1, seq, "same", b"same")
        client.store(1, seq + 1, "same", b"same")
        client.send_versions(1, [wire.absent(seq + 2, "never-was")])
        client.wait_acked(1, seq + 2)
        assert client.open_source(2, "same")["version_seq"] == seq + 2
    assert len(fleet.json("versions", "robot-wire:same/same")["versions"]) == 1


def test_versions_that_skip_a_number_are_refused_with_the_one_expected(fleet, agent):
    seq = agent.open_source(1, "gap")["version_seq"] + 1
    about = agent.send_versions(1, [wire.absent(seq + 5, "gap")])
    error = agent.expect("ERROR")
    assert (error["code"], error["about"], error["stream"], error["version_seq"]) == (
        wire.GAP, about, 1, seq)
    agent.store(1, seq, "gap", b"the session goes on")


@pytest.mark.parametrize("seqs", [(1, 3), (2, 1), (1, 1), (0,)])
def test_versions_of_one_frame_rise_by_one(fleet, agent, seqs):
    agent.open_source(1, "rise")
    agent.send_versions(1, [wire.absent(seq, "x") for seq in seqs])
    assert refused(agent) == wire.MALFORMED


# --- content that lies ---

def lacks(client, plain):
    return client.need(77, [wire.chunk_id(plain)]) != []


def zstd(plain, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=plain, capture_output=True,
                          check=True).stdout


def test_honest_zstd_is_taken(fleet, agent):
    plain = b"a" * 5000
    agent.send_chunks([wire.chunk(plain, codec=wire.ZSTD,
                                  data=zstd(plain, f"--stream-size={len(plain)}"))])
    seq = agent.open_source(1, "zstd")["version_seq"] + 1
    agent.send_versions(1, [wire.regular(seq, "zstd", [plain])])
    agent.wait_acked(1, seq)
    assert fleet.cli("cat", "robot-wire:zstd/zstd", text=False) == plain


def lies(plain):
    packed = zstd(plain, f"--stream-size={len(plain)}")
    return {
        "another content": wire.chunk(plain, data=bytes([plain[0] ^ 1]) + plain[1:]),
        "another id": wire.chunk(plain, id=os.urandom(32)),
        "longer than it says": wire.chunk(plain, codec=wire.ZSTD, data=packed,
                                          plain_size=len(plain) - 1),
        "shorter than it says": wire.chunk(plain, codec=wire.ZSTD, data=packed,
                                           plain_size=len(plain) + 1),
        "no zstd": wire.chunk(plain, codec=wire.ZSTD, data=plain),
        "zstd cut off": wire.chunk(plain, codec=wire.ZSTD, data=packed[:-1]),
        "zstd with more behind": wire.chunk(plain, codec=wire.ZSTD, data=packed + b"x"),
        "two zstd frames": wire.chunk(plain + plain, codec=wire.ZSTD, data=packed + packed),
        "no zstd at all": wire.chunk(plain, codec=wire.ZSTD, data=b""),
    }


@pytest.mark.parametrize("lie", lies(b"a" * 5000))
def test_content_that_is_not_what_it_says_is_refused_and_not_kept(fleet, robot, lie):
    plain = os.urandom(100) + b"a" * 4900
    with session(fleet, robot) as client:
        seq = client.open_source(1, "lies")["version_seq"] + 1
        about = client.send_chunks([lies(plain)[lie]])
        goaway = client.goaway()
        assert goaway["code"] == wire.HASH
        error = next(frame for frame in client.frames if frame["frame"] == "ERROR")
        assert (error["code"], error["about"]) == (wire.HASH, about)
    with session(fleet, robot) as client:
        assert lacks(client, plain)
        assert client.open_source(1, "lies")["version_seq"] == seq - 1


def test_a_length_that_raw_content_does_not_have_is_malformed(fleet, agent):
    agent.send_chunks([wire.chunk(b"abc", plain_size=4)])
    assert refused(agent) == wire.MALFORMED


@pytest.mark.parametrize("change,code", [
    ({"plain_size": wire.CHUNK_MAX_BYTES + 1, "codec": wire.ZSTD}, wire.MALFORMED),
    ({"plain_size": (1 << 32) - 1, "codec": wire.ZSTD}, wire.MALFORMED),
    ({"plain_size": 0, "codec": wire.ZSTD}, wire.MALFORMED),
    ({"codec": 2}, wire.MALFORMED), ({"codec": 4}, wire.TOO_LARGE),
    ({"id": bytes(31)}, wire.MALFORMED), ({"id": bytes(33)}, wire.MALFORMED),
    ({"chunks": b""}, wire.MALFORMED), ({"chunks": bytes(36) * 1025}, wire.TOO_LARGE),
    ({"codec": wire.DELTA}, wire.MALFORMED), ({"aid": bytes(32)}, wire.MALFORMED),
    ({"codec": wire.DELTA, "aid": bytes(33)}, wire.TOO_LARGE), ({"data": 5}, wire.MALFORMED)])
def test_chunks_beyond_their_limits_are_refused(fleet, agent, change, code):
    agent.send_chunks([wire.chunk(b"abc", **change)])
    assert refused(agent) == code


def test_a_decompression_bomb_costs_no_more_than_it_claims(fleet, robot):
    """1 GiB of zeros in 32 KiB: whatever length is claimed, no more is ever unpacked."""
    bomb = zstd(bytes(1 << 30), "-19", "--long=27")
    assert len(bomb) < 200 << 10
    before = memory_bytes(fleet)
    for claimed in (wire.CHUNK_MAX_BYTES, 100, 1):
        with session(fleet, robot) as client:
            client.send_chunks([wire.chunk(bytes(claimed), codec=wire.ZSTD, data=bomb)])
            assert refused(client) == wire.HASH
    assert sanitized(fleet) or memory_bytes(fleet) - before < 64 << 20


def test_a_frame_full_of_small_bombs_is_refused_within_its_memory(fleet, robot):
    """1,024 blocks that each claim 512 KiB: 512 MiB, unpacked one after the other."""
    plain = bytes(wire.CHUNK_MAX_BYTES)
    packed = zstd(plain, f"--stream-size={len(plain)}")
    before = memory_bytes(fleet)
    with session(fleet, robot) as client:
        good = wire.chunk(plain, codec=wire.ZSTD, data=packed)
        bad = wire.chunk(plain, id=bytes(32), codec=wire.ZSTD, data=packed)
        client.send_chunks([good] * 1023 + [bad])
        assert refused(client) == wire.HASH
    assert sanitized(fleet) or memory_bytes(fleet) - before < 64 << 20


# --- history that lies ---

def test_versions_without_their_chunks_are_refused_until_they_come_again(fleet, agent):
    """Go-back-N: what follows the refused one is dropped until that one comes again."""
    first, second = os.urandom(50), os.urandom(50)
    seq = agent.open_source(1, "missing")["version_seq"] + 1
    about = agent.send_versions(1, [wire.regular(seq, "a", [first])])
    agent.send_versions(1, [wire.absent(seq + 1, "b")])
    error = agent.expect("ERROR")
    assert (error["code"], error["about"], error["stream"], error["version_seq"], error["ids"]) == (
        wire.MISSING_CHUNKS, about, 1, seq, wire.chunk_id(first))
    agent.send_chunks([wire.chunk(first), wire.chunk(second)])
    agent.send_versions(1, [wire.regular(seq + 1, "b", [second])])  # still not its turn
    agent.send_versions(1, [wire.regular(seq, "a", [first]), wire.regular(seq + 1, "b", [second])])
    agent.wait_acked(1, seq + 1)
    assert [row["path"] for row in agent.listing(1)] == [b"a", b"b"]


def test_what_comes_before_a_refused_version_in_its_frame_stands(fleet, agent):
    seq = agent.open_source(1, "half")["version_seq"] + 1
    agent.send_chunks([wire.chunk(b"here")])
    agent.send_versions(1, [wire.regular(seq, "here", [b"here"]),
                            wire.regular(seq + 1, "not", [os.urandom(9)]),
                            wire.absent(seq + 2, "here")])
    assert agent.expect("ERROR")["version_seq"] == seq + 1
    agent.wait_acked(1, seq)
    assert [row["path"] for row in agent.listing(1)] == [b"here"]


BAD_PATHS = [b"", b"/etc/passwd", b"..", b"../x", b"a/../b", b"a/..", b"a//b", b"a/", b"/", b".",
             b"a/./b", b"a\0b", b"x" * 256, b"/".join([b"x" * 200] * 21), b"a/" + b"y" * 256]


@pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
def test_paths_that_may_not_be_are_refused(fleet, agent, path):
    agent.open_source(1, "paths")
    agent.send_versions(1, [wire.absent(1, path)])
    assert refused(agent) == (wire.TOO_LARGE if len(path) > 4095 else wire.MALFORMED)


def test_paths_of_any_other_bytes_are_kept_as_they_are(fleet, agent):
    paths = sorted([b"caf\xe9", b"a\nb\x1b[31m", b"...", b" ", b"-rf", b"x" * 255, b"%s%n", b"'\"",
                    b"\xff\xfe", b"/".join([b"y" * 250] * 16)])
    seq = agent.open_source(1, "odd")["version_seq"] + 1
    rows = [dict(wire.regular(seq + i, path), type=wire.DIRECTORY) for i, path in enumerate(paths)]
    agent.send_versions(1, rows)
    agent.wait_acked(1, seq + len(paths) - 1)
    assert [row["path"] for row in agent.listing(1)] == paths
    fleet.cli("ls", "robot-wire:odd")
    fleet.json("ls", "robot-wire:odd")


@pytest.mark.parametrize("change,code", [
    ({"size": 4}, wire.MALFORMED), ({"refs": b"x" * 35}, wire.MALFORMED),
    ({"refs": bytes(36), "size": 0}, wire.TOO_LARGE),
    ({"refs": bytes(32) + struct.pack("<I", (512 << 10) + 1)}, wire.TOO_LARGE),
    ({"refs": bytes(36 * 1025)}, wire.TOO_LARGE),
    ({"type": wire.DIRECTORY}, wire.MALFORMED), ({"type": 6}, wire.TOO_LARGE),
    ({"type": wire.SYMLINK, "refs": b"", "size": 0}, wire.MALFORMED),
    ({"type": wire.BLOCK_DEVICE, "target": b"8:0"}, wire.MALFORMED),                # with content
    ({"type": wire.BLOCK_DEVICE, "refs": b"", "size": 0}, wire.MALFORMED),
    ({"type": wire.BLOCK_DEVICE, "target": b"8:x", "refs": b"", "size": 0}, wire.MALFORMED),
    ({"type": wire.CHAR_DEVICE, "target": b"4096:0", "refs": b"", "size": 0}, wire.MALFORMED),
    ({"target": b"x"}, wire.MALFORMED), ({"mode": 0o10000}, wire.TOO_LARGE),
    ({"mode": -1}, wire.MALFORMED), ({"uid": 1 << 32}, wire.TOO_LARGE),
    ({"depth": 2}, wire.TOO_LARGE), ({"depth": 1}, wire.MALFORMED),
    ({"captured": -1}, wire.MALFORMED), ({"captured": 1 << 62}, wire.TOO_LARGE),
    ({"owner": "x" * 65}, wire.TOO_LARGE), ({"owner": "a\nb\x07"}, wire.MALFORMED),
    ({"size": 1 << 63}, wire.TOO_LARGE), ({"job": 1 << 63}, wire.TOO_LARGE)])
def test_versions_whose_fields_contradict_each_other_are_refused(fleet, agent, change, code):
    seq = agent.open_source(1, "fields")["version_seq"] + 1
    agent.send_chunks([wire.chunk(b"abc")])
    agent.send_versions(1, [wire.regular(seq, "x", [b"abc"], **change)])
    assert refused(agent) == code


def large_version(seq, list_plain, size):
    return wire.regular(seq, "large", [list_plain], depth=1, size=size)


def test_lists_of_chunks_are_looked_into(fleet, robot):
    data = os.urandom(64)
    honest = wire.references([data, data])
    stranger = wire.references([os.urandom(10)])
    with session(fleet, robot) as client:
        seq = client.open_source(1, "lists")["version_seq"] + 1
        client.send_chunks([wire.chunk(stranger)])
        client.send_versions(1, [large_version(seq, stranger, 10)])
        error = client.expect("ERROR")
        assert (error["code"], error["ids"]) == (wire.MISSING_CHUNKS, stranger[:32])
        client.send_chunks([wire.chunk(data), wire.chunk(honest)])
        client.send_versions(1, [large_version(seq, honest, 128)])
        client.wait_acked(1, seq)
        assert fleet.cli("cat", "robot-wire:lists/large", text=False) == data + data
        client.send_versions(1, [large_version(seq + 1, honest, 129)])
        assert refused(client) == wire.MALFORMED
    with session(fleet, robot) as client:
        assert client.open_source(1, "lists")["version_seq"] == seq


def test_a_version_of_millions_of_references_does_not_hold_up_the_others(fleet, robot, other):
    """Half a MiB of references, named a thousand times: each is looked up, while others' work is committed."""
    per_list = (512 << 10) // 36
    one = b"z"
    full = wire.references([one]) * per_list
    size = 1024 * per_list
    with session(fleet, robot) as client, session(fleet, other) as neighbour:
        seq = client.open_source(1, "millions")["version_seq"]
        client.send_chunks([wire.chunk(one), wire.chunk(full)])
        versions = [wire.regular(seq + 1 + i, "millions", depth=1, size=size,
                                 refs=(wire.chunk_id(full) + struct.pack("<I", len(full))) * 1024) for i in range(20)]
        client.send_versions(1, versions)
        client.send_versions(1, [wire.absent(seq + 21, "millions")])  # what comes after it waits for it
        theirs = neighbour.open_source(1, "neighbour")["version_seq"]
        for i in range(20):
            neighbour.store(1, theirs + 1 + i, f"file-{i}", os.urandom(100))
        assert lacks(client, b"never sent")  # and with the answer all that was acknowledged before it
        assert client.acked.get(1, 0) < seq + 20
    # What was not acknowledged when its host left is not looked into any further.
    with session(fleet, robot) as client:
        assert client.open_source(1, "millions")["version_seq"] in (seq, seq + 20, seq + 21)
        seq = client.open_source(2, "lists-again")["version_seq"]
        client.send_chunks([wire.chunk(one), wire.chunk(full)])
        client.send_versions(2, [large_version(seq + 1, full, per_list), wire.absent(seq + 2, "large")])
        client.wait_acked(2, seq + 2)


@pytest.mark.parametrize("length", [0, (512 << 10) + 1, (1 << 32) - 1])
def test_lists_that_name_impossible_lengths_are_refused(fleet, robot, length):
    data = b"in a list"
    liar = wire.chunk_id(data) + struct.pack("<I", length)
    with session(fleet, robot) as client:
        seq = client.open_source(1, "lists")["version_seq"] + 1
        client.send_chunks([wire.chunk(data), wire.chunk(liar)])
        client.send_versions(1, [large_version(seq, liar, length)])
        error = client.expect("ERROR")  # nobody holds a chunk of that length
        assert (error["code"], error["ids"]) == (wire.MISSING_CHUNKS, liar[:32])
    with session(fleet, robot) as client:
        assert client.open_source(1, "lists")["version_seq"] == seq - 1


def test_a_length_that_its_chunk_does_not_have_is_refused(fleet, robot):
    """The reference says 5 bytes, the chunk has 9: no file can be made of that."""
    data = b"nine long"
    with session(fleet, robot) as client:
        seq = client.open_source(1, "lengths")["version_seq"] + 1
        client.send_chunks([wire.chunk(data)])
        client.send_versions(1, [wire.regular(seq, "x", [data], size=5,
                                              refs=wire.chunk_id(data) + struct.pack("<I", 5))])
        try:
            error = client.expect("ERROR")
            assert error["code"] in (wire.MALFORMED, wire.DENIED, wire.HASH, wire.MISSING_CHUNKS)
        except wire.Ended as ended:
            assert ended.code in (wire.MALFORMED, wire.DENIED, wire.HASH)
    with session(fleet, robot) as client:
        assert client.open_source(1, "lengths")["version_seq"] == seq - 1


# --- streams, sources ---

@pytest.mark.parametrize("name,fields", [
    ("VERSIONS", {"versions": [wire.absent(1, "x")]}),
    ("MARK", {"version_seq": 0, "until": 1, "state": 1, "pending": 0, "note": ""})])
def test_streams_that_were_not_opened_are_refused(fleet, agent, name, fields):
    agent.send(name, stream=9, **fields)
    assert refused(agent) == wire.STATE


def test_a_listing_of_a_stream_that_was_not_opened_is_refused(fleet, agent):
    agent.send("LIST", stream=9, after=b"")
    assert agent.expect("ERROR")["code"] == wire.STATE


@pytest.mark.parametrize("change,code", [
    ({"stream": 0}, wire.MALFORMED), ({"stream": 1025}, wire.TOO_LARGE), ({"name": ""}, wire.MALFORMED),
    ({"name": "Upper"}, wire.MALFORMED), ({"name": "../x"}, wire.MALFORMED),
    ({"name": "x" * 65}, wire.TOO_LARGE), ({"name": "a b"}, wire.MALFORMED),
    ({"kind": "\x1b[2J"}, wire.MALFORMED), ({"roots": [b"/x"] * 65}, wire.TOO_LARGE),
    ({"roots": [b"/" * 4097]}, wire.TOO_LARGE)])
def test_sources_with_names_that_may_not_be_are_refused(fleet, agent, change, code):
    fields = {"stream": 1, "name": "fine", "kind": "files", "class": "logs", "roots": []}
    agent.send("SOURCE", check=False, **dict(fields, **change))
    assert refused(agent) == code


# --- credit and floods ---

def test_credit_comes_back_as_content_becomes_durable(fleet, agent):
    """Far more than one window goes through, and what is granted never shrinks."""
    window = agent.credit
    seq = agent.open_source(1, "flow")["version_seq"] + 1
    for number in range(24):
        piece = os.urandom(500 << 10)
        agent.send_chunks([wire.chunk(piece)])
        agent.send_versions(1, [wire.regular(seq + number, "flow", [piece])])
    agent.wait_acked(1, seq + 23)
    assert agent.credit > window


def test_questions_whose_answers_nobody_reads_do_not_fill_the_memory(fleet, robot):
    with session(fleet, robot) as client:
        ids = os.urandom(32 * 8192)
        before = memory_bytes(fleet)
        client.socket.settimeout(3)
        try:
            for number in range(400):
                message = wire.encode("HAVE", client.next_seq(), request=number, ids=ids)
                client.socket.send(message, 2)
        except Exception:
            pass  # TCP says: wait. That is the point.
        assert sanitized(fleet) or memory_bytes(fleet) - before < 128 << 20


def test_small_questions_with_long_answers_do_not_fill_the_memory(fleet, robot):
    """A LIST of eight bytes is answered with half a MiB."""
    with session(fleet, robot) as client:
        seq = client.open_source(1, "listed")["version_seq"]
        piece = os.urandom(100)
        client.send_chunks([wire.chunk(piece)])
        client.send_versions(1, [wire.regular(seq + i + 1, f"listed-{i}", [piece] * 1024) for i in range(16)])
        client.wait_acked(1, seq + 16)
        before = memory_bytes(fleet)
        client.socket.settimeout(3)
        try:
            for _ in range(30000):
                client.send("LIST", stream=1, after=b"")
        except Exception:
            pass  # TCP says: wait.
        time.sleep(1)
        assert sanitized(fleet) or memory_bytes(fleet) - before < 64 << 20


def test_one_question_for_much_content_does_not_fill_the_memory(fleet):
    asker = fleet.add_host("robot-asks", start=False)
    with session(fleet, asker) as client:
        seq = client.open_source(1, "much")["version_seq"]
        piece = os.urandom(512 << 10)
        client.store(1, seq + 1, "much", piece)
        fleet.cli("restore", "robot-asks:much")
        job = client.expect("RESTORE_OFFER")["job"]
        client.send("RESTORE_ANSWER", job=job, accepted=True, message="")
        before = memory_bytes(fleet)
        for _ in range(200):
            client.send("CHUNK_GET", job=job, ids=wire.chunk_id(piece) * 41)
        time.sleep(2)
        assert sanitized(fleet) or memory_bytes(fleet) - before < 64 << 20
        for _ in range(100):  # it comes all the same, as fast as it is read
            assert client.expect("CHUNKS")["blocks"]


def test_restore_requests_without_end_do_not_fill_the_memory(fleet, robot):
    before = memory_bytes(fleet)
    with session(fleet, robot) as client:
        client.socket.settimeout(3)
        try:
            for _ in range(50000):
                client.send("RESTORE_NEXT", job=1, cursor=b"")
        except Exception:
            pass  # TCP says: wait.
        assert sanitized(fleet) or memory_bytes(fleet) - before < 64 << 20


# --- other hosts' content, other hosts' jobs ---

def test_nobody_hears_of_or_refers_to_what_another_host_stored(fleet, robot, other):
    secret = os.urandom(100)
    with session(fleet, robot) as client:
        client.store(1, client.open_source(1, "secret")["version_seq"] + 1, "secret", secret)
        assert not lacks(client, secret)
    with session(fleet, other) as thief:
        assert lacks(thief, secret)
        seq = thief.open_source(1, "secret")["version_seq"] + 1
        assert seq == 1 and thief.listing(1) == []
        thief.send_versions(1, [wire.regular(seq, "secret", [secret])])
        assert thief.expect("ERROR")["code"] == wire.MISSING_CHUNKS
        thief.send("CHUNK_GET", job=1, ids=wire.chunk_id(secret))
        assert thief.expect("ERROR")["code"] == wire.DENIED
        # In a list it is no better hidden.
        hidden = wire.references([secret])
        thief.send_chunks([wire.chunk(hidden)])
        thief.send_versions(1, [large_version(seq, hidden, 100)])
        assert thief.expect("ERROR")["code"] == wire.MISSING_CHUNKS
        # Whoever has it may say so; it is stored once and his from then on.
        thief.store(1, seq, "mine", secret)
        assert not lacks(thief, secret)


@pytest.mark.parametrize("name,fields", [
    ("RESTORE_ANSWER", {"accepted": True, "message": ""}), ("RESTORE_NEXT", {"cursor": b""}),
    ("CHUNK_GET", {"ids": bytes(32)}), ("RESTORE_RESULT", {"results": []}),
    ("RESTORE_DONE", {"outcome": 1, "files": 1, "failed": 0, "fetched": 0, "reused": 0,
                      "message": "done"})])
def test_restore_frames_without_a_job_are_refused(fleet, agent, name, fields):
    about = agent.send(name, job=4711, **fields)
    error = agent.expect("ERROR")
    assert (error["code"], error["about"]) == (wire.DENIED, about)
    agent.open_source(1, "honest")  # the session goes on


def test_a_host_cannot_answer_for_another_hosts_restore(fleet, robot, other):
    with session(fleet, robot) as client:
        client.store(1, client.open_source(1, "jobs")["version_seq"] + 1, "jobs", b"jobs")
    job = fleet.json("restore", "robot-wire:jobs")["id"]
    with session(fleet, other) as thief:
        for name, fields in [("RESTORE_ANSWER", {"accepted": True, "message": ""}),
                             ("RESTORE_NEXT", {"cursor": b""}),
                             ("CHUNK_GET", {"ids": wire.chunk_id(b"jobs")}),
                             ("RESTORE_DONE", {"outcome": 1, "files": 1, "failed": 0, "fetched": 0,
                                               "reused": 0, "message": ""})]:
            thief.send(name, job=job, **fields)
            assert thief.expect("ERROR")["code"] == wire.DENIED, name
    with session(fleet, robot) as client:
        offer = client.expect("RESTORE_OFFER")
        assert offer["job"] == job
        about = client.send("RESTORE_NEXT", job=job, cursor=b"")
        error = client.expect("ERROR")
        assert (error["code"], error["about"]) == (wire.STATE, about)
        client.send("RESTORE_ANSWER", job=job, accepted=False, message="not now")


def test_a_restore_gives_the_content_of_its_job_and_no_other(fleet, robot, other):
    mine, foreign = os.urandom(2000), os.urandom(2000)
    with session(fleet, other) as client:
        client.store(1, client.open_source(1, "foreign")["version_seq"] + 1, "foreign", foreign)
    with session(fleet, robot) as client:
        client.store(1, client.open_source(1, "content")["version_seq"] + 1, "content", mine)
    job = fleet.json("restore", "robot-wire:content")["id"]
    with session(fleet, robot) as client:
        offer = client.expect("RESTORE_OFFER")
        while offer["job"] != job:  # what earlier tests left
            client.send("RESTORE_ANSWER", job=offer["job"], accepted=False, message="no")
            offer = client.expect("RESTORE_OFFER")
        assert (offer["source"], offer["origin_host"], offer["destination"], offer["files"]) == (
            "content", "", b"", 1)
        client.send("RESTORE_ANSWER", job=job, accepted=True, message="")
        client.send("RESTORE_NEXT", job=job, cursor=b"")
        page = client.expect("RESTORE_PAGE")
        assert [row["path"] for row in page["versions"]] == [b"content"] and page["last"]
        about = client.send("CHUNK_GET", job=job, ids=wire.chunk_id(foreign) + wire.chunk_id(mine))
        error = client.expect("ERROR")
        assert (error["code"], error["about"], error["ids"]) == (
            wire.DENIED, about, wire.chunk_id(foreign))
        chunks = client.expect("CHUNKS")
        assert (chunks["job"], [one["chunks"][:-4] for one in chunks["blocks"]]) == (
            job, [wire.chunk_id(mine)])
        client.send("RESTORE_RESULT", job=job, results=[
            {"path": b"content", "status": 1, "bytes": 2000, "message": ""}])
        client.send("RESTORE_DONE", job=job, outcome=1, files=1, failed=0, fetched=2000, reused=0,
                    message="")
        assert client.expect("RESTORE_DONE")["job"] == job


# --- clocks ---

@pytest.mark.parametrize("hours", [-7, 5, -24 * 365 * 20, 24 * 365 * 50])
def test_hours_of_skew_do_not_move_history(fleet, robot, hours):
    """The host's clock is wrong by hours: what it says it captured now was captured now."""
    wrong = hours * 3600 * 10**9
    name = f"skew{hours}"
    with session(fleet, robot, now=time.time_ns() + wrong) as client:
        seq = client.open_source(1, name)["version_seq"] + 1
        client.send_chunks([wire.chunk(b"tick")])
        client.send_versions(1, [wire.regular(seq, "clock", [b"tick"],
                                              captured=time.time_ns() + wrong)])
        client.wait_acked(1, seq)
        time.sleep(0.01)
    assert fleet.cli("cat", f"robot-wire:{name}/clock", "--at", "now") == "tick"
    assert fleet.cli("cat", f"robot-wire:{name}/clock", "--at", "1 minute ago",
                     check=False).returncode != 0


@pytest.mark.parametrize("now", [0, (1 << 62) - 1])
def test_clocks_at_the_ends_of_time_are_borne(fleet, robot, now):
    with session(fleet, robot, now=now) as client:
        seq = client.open_source(1, "ends")["version_seq"] + 1
        for offset, captured in enumerate((0, (1 << 62) - 1, time.time_ns())):
            client.store(1, seq + offset, "ends", os.urandom(5), captured=captured)
        client.send("MARK", stream=1, version_seq=seq, until=(1 << 62) - 1, state=1, pending=0,
                    note="")
        client.store(1, seq + 3, "ends", os.urandom(5))
    fleet.json("versions", "robot-wire:ends/ends")


# --- two sessions of one identity ---

def test_a_second_live_session_is_refused_and_the_first_goes_on(fleet, agent, robot):
    with connect(fleet, robot) as second:
        with pytest.raises(wire.Ended) as ended:
            second.hello()
        assert ended.value.code == wire.DUPLICATE
        assert ended.value.goaway["retry_after_ms"] > 0
    agent.open_source(1, "honest")


def test_the_same_process_coming_back_takes_over(fleet, robot):
    instance = os.urandom(16)
    with session(fleet, robot, instance=instance) as first:
        with connect(fleet, robot) as second:
            second.hello(instance=instance)
            assert refused(first) == wire.DUPLICATE
            second.open_source(1, "honest")


# --- beneath the protocol ---

def test_no_hello_ends_the_session(fleet, robot):
    with connect(fleet, robot) as client:
        started = time.monotonic()
        assert refused(client) == wire.IDLE
        assert time.monotonic() - started > 5, "not before it had time to say one"


@pytest.mark.parametrize("options", [{"path": "/"}, {"path": "/v1/agent/x"}, {"path": "/v2/agent"},
                                     {"subprotocols": ["holdfast.v2"]}, {"subprotocols": ["http"]},
                                     {"subprotocols": []}])
def test_another_path_or_subprotocol_is_no_session(fleet, robot, options):
    with pytest.raises((wire.Refused, wire.Ended, AssertionError)):
        with connect(fleet, robot, **options) as client:
            client.hello()


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                   b"\x16\x03\x01" + b"\xff" * 100, b"A" * 100000],
                         ids=["nothing", "plain HTTP", "half a record", "noise"])
def test_what_is_no_tls_gets_nowhere(fleet, start):
    with socket.create_connection(("127.0.0.1", int(fleet.collector.ports["agents"])), 10) as plain:
        plain.settimeout(3)
        try:
            plain.sendall(start)
            assert b"101" not in plain.recv(1000)
        except OSError:
            pass


@pytest.mark.parametrize("start", [
    b"GET /v1/agent HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1/agent HTTP/1.1\r\nContent-Length: 9\r\n"
    b"Host: x\r\n\r\n123456789", b"\0" * 5000, b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n"],
    ids=["GET", "POST", "zeros", "a long path"])
def test_what_is_no_websocket_gets_nowhere(fleet, robot, start):
    context = ssl.create_default_context(cafile=fleet.collector.directory / "ca/root.pem")
    context.load_cert_chain(robot.directory / "identity/agent.pem")
    with socket.create_connection(("127.0.0.1", int(fleet.collector.ports["agents"])), 10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.settimeout(3)
            try:
                secure.sendall(start)
                assert b"101 Switching" not in secure.recv(1000)
            except OSError:
                pass


# --- anything at all ---

def random_value(dice, depth=0):
    kind = dice.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return dice.choice([0, 1, 2, 127, 128, 255, 1 << 16, 1 << 31, 1 << 32, (1 << 63) - 1,
                            1 << 63, (1 << 64) - 1, -1, -(1 << 63)])
    if kind == 1:
        return dice.choice([None, True, False, 1.5, float("nan")])
    if kind == 2:
        return dice.randbytes(dice.choice([0, 1, 16, 31, 32, 33, 36, 72]))
    if kind == 3:
        return dice.choice(["", "a", "files", "x" * 70, "\x00", "é", "../x"])
    if kind in (4, 5):
        return dice.randrange(50)
    if kind == 6:
        return {str(i): random_value(dice, depth + 1) for i in range(dice.randrange(3))}
    return [random_value(dice, depth + 1) for _ in range(dice.choice([0, 1, 3, 4, 5, 16]))]


def test_random_frames_never_harm_the_collector(fleet, robot):
    dice = random.Random(20261123)
    codes = set()
    for _ in range(150):
        with session(fleet, robot) as client:
            client.timeout = 2
            client.socket.settimeout(2)
            try:
                client.open_source(1, "random")
                for _ in range(30):
                    number = dice.choice([*wire.FRAMES, 20, 40, 200])
                    fields = len(wire.FRAMES[number][1]) if number in wire.FRAMES else 3
                    values = [random_value(dice) for _ in range(fields)]
                    client.send_raw(msgpack.packb([number, client.next_seq(), *values]))
                client.drain()
            except wire.Ended as ended:
                codes.add(ended.code)
            except TimeoutError:
                pass
    assert wire.MALFORMED in codes and wire.TOO_LARGE in codes
    assert wire.INTERNAL not in codes


def test_damaged_conversations_never_harm_the_collector(fleet, robot):
    """A good conversation with one damaged byte: it is refused, or means something else whole; and
    what the collector then holds is consistent: every listed version's chunks are there."""
    dice = random.Random(42)
    for _ in range(150):
        with session(fleet, robot) as client:
            client.timeout = 2
            client.socket.settimeout(2)
            try:
                seq = client.open_source(1, "damaged")["version_seq"] + 1
                content = dice.randbytes(40)
                messages = [wire.encode("CHUNKS", 3, job=0, blocks=[wire.chunk(content)]),
                            wire.encode("VERSIONS", 4, stream=1, versions=[
                                wire.regular(seq, "d%d" % dice.randrange(5), [content])])]
                hit = bytearray(messages[dice.randrange(2)])
                place = messages.index(bytes(hit))
                hit[dice.randrange(len(hit))] ^= 1 << dice.randrange(8)
                messages[place] = bytes(hit)
                for message in messages:
                    client.send_raw(message)
                client.sent_seq = 4
                client.send("LIST", stream=1, after=b"")
                client.expect("LISTING")
            except (wire.Ended, TimeoutError):
                pass
    with session(fleet, robot) as client:
        client.open_source(1, "damaged")
        rows = client.listing(1)
        ids = [row["refs"][:32] for row in rows if row.get("refs")]
        assert ids and client.need(1, ids) == []
    for row in rows:
        if row["type"] == wire.REGULAR and row["path"].isalnum():
            assert len(fleet.cli("cat", f"robot-wire:damaged/{row['path'].decode()}", text=False)
                       ) == row["size"]


def test_the_refusals_are_audited_and_counted(fleet, robot):
    """Last: what all of the above left behind. One host's refusals are audited at a bounded rate."""
    actions = {entry["action"] for entry in fleet.json("audit", "--limit", "0")["entries"]}
    assert {"session.refused", "chunk.refused"} <= actions
    metrics = fleet.metrics()
    assert metrics['holdfast_sessions_refused_total{reason="malformed"}'] > 10, metrics


# --- long histories ---

def test_a_long_stretch_of_deleted_paths_hides_nothing_that_comes_after_it(fleet, other):
    """Checkpoints with a name a job: the catalog looks through so many at once, then sends a page without a row."""
    count, step = 50_500, 1000
    with session(fleet, other) as client:
        client.open_source(1, "long")
        seq = 0
        for make in (lambda seq, path: wire.regular(seq, path, type=wire.DIRECTORY, mode=0o755), wire.absent):
            for first in range(0, count, step):
                client.send_versions(1, [make(seq + i + 1, b"jobs/%08d" % (first + i)) for i in range(min(step, count - first))])
                seq += min(step, count - first)
                client.wait_acked(1, seq)
        client.send_versions(1, [wire.regular(seq + 1, b"kept", type=wire.DIRECTORY, mode=0o755)])
        client.wait_acked(1, seq + 1)
        client.send("LIST", stream=1, after=b"")
        listing = client.expect("LISTING")
        assert [row["path"] for row in listing["versions"]] == [b"kept"] and listing["last"]
    assert [e["path"] for e in fleet.json("ls", f"{other.name}:long", "--recursive")["entries"]] == ["kept"]
