"""A client of the wire protocol written from proto/PROTOCOL.md alone: it shares no code with Holdfast.

    with Client(address, certificate="agent.pem", ca="root.pem") as agent:
        agent.hello()
        state = agent.open_source(1, "config")
        agent.send_chunks([chunk(b"a = 1\\n")])
        agent.send_versions(1, [regular(state["version_seq"] + 1, "etc/app.conf", [b"a = 1\\n"])])
        agent.wait_acked(1, state["version_seq"] + 1)

It also does what no honest agent does: `send_raw`, `send_piece` and `cut` put any bytes on the
connection, `encode(..., check=False)` makes frames that no field's rules allow.
"""
import hashlib
import json
import os
import ssl
import struct
import time

import msgpack
import websocket

VERSION = 1
PATH = "/v1/agent"
SUBPROTOCOL = "holdfast.v1"
FRAME_MAX_BYTES = 1 << 20
CHUNK_MAX_BYTES = 512 << 10

(MALFORMED, UNKNOWN_TYPE, TOO_LARGE, NO_VERSION, STATE, CREDIT, HASH, MISSING_CHUNKS, GAP, DENIED,
 DUPLICATE, REVOKED, OVERLOADED, SHUTDOWN, STORAGE, NOT_FOUND, INTERNAL, BAD_PATH, IDLE,
 EXPIRED) = range(1, 21)

ABSENT, REGULAR, DIRECTORY, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE = range(6)
RAW, ZSTD, DICTIONARY, DELTA = range(4)

# --- the frames, as PROTOCOL.md's tables have them ---
# A kind is a Python type, or a list: of one kind (an array of any length), or of (name, kind)
# pairs (an array of fields).

VERSION_FIELDS = [
    ("version_seq", int), ("type", int), ("flags", int), ("path", bytes), ("captured", int),
    ("mode", int), ("uid", int), ("gid", int), ("owner", str), ("group", str), ("mtime", int),
    ("size", int), ("target", bytes), ("depth", int), ("refs", bytes), ("job", int),
    ("link", int), ("xattrs", bytes)]
ABSENT_FIELDS = VERSION_FIELDS[:5]
BLOCK_FIELDS = [("codec", int), ("aid", bytes), ("chunks", bytes), ("data", bytes)]
ACK_FIELDS = [("stream", int), ("version_seq", int), ("received", int)]
RESULT_FIELDS = [("path", bytes), ("status", int), ("bytes", int), ("message", str)]

FRAMES = {
    1: ("HELLO", [("version_min", int), ("version_max", int), ("capabilities", [str]),
                  ("agent_version", str), ("hostname", str), ("machine_id", str), ("os", str),
                  ("now", int), ("instance", bytes)]),
    2: ("WELCOME", [("version", int), ("capabilities", [str]), ("host", str), ("session", int),
                    ("now", int), ("credit", int), ("frame_max", int), ("ping_seconds", int),
                    ("chunking", bytes)]),
    3: ("SOURCE", [("stream", int), ("name", str), ("kind", str), ("class", str),
                   ("roots", [bytes])]),
    4: ("SOURCE_STATE", [("stream", int), ("version_seq", int), ("files", int), ("dictionary", bytes)]),
    5: ("HAVE", [("request", int), ("ids", bytes)]),
    6: ("NEED", [("request", int), ("bitmap", bytes)]),
    7: ("CHUNKS", [("job", int), ("blocks", [BLOCK_FIELDS])]),
    8: ("VERSIONS", [("stream", int), ("versions", [VERSION_FIELDS])]),
    9: ("ACK", [("acks", [ACK_FIELDS])]),
    10: ("CREDIT", [("total", int)]),
    11: ("MARK", [("stream", int), ("version_seq", int), ("until", int), ("state", int),
                  ("pending", int), ("note", str)]),
    12: ("ERROR", [("code", int), ("about", int), ("stream", int), ("version_seq", int),
                   ("message", str), ("ids", bytes)]),
    13: ("GOAWAY", [("code", int), ("retry_after_ms", int), ("message", str)]),
    14: ("LIST", [("stream", int), ("after", bytes)]),
    15: ("LISTING", [("stream", int), ("versions", [VERSION_FIELDS]), ("last", bool)]),
    16: ("RENEW", [("request", bytes)]),
    17: ("RENEWED", [("chain", bytes)]),
    18: ("DICTIONARY_GET", [("id", bytes)]),
    19: ("DICTIONARY", [("id", bytes), ("bytes", bytes)]),
    32: ("RESTORE_OFFER", [("job", int), ("source", str), ("origin_host", str), ("at", int),
                           ("destination", bytes), ("conflict", int), ("dry_run", bool),
                           ("files", int), ("bytes", int), ("expires", int), ("paths", [bytes])]),
    33: ("RESTORE_ANSWER", [("job", int), ("accepted", bool), ("message", str)]),
    34: ("RESTORE_NEXT", [("job", int), ("cursor", bytes)]),
    35: ("RESTORE_PAGE", [("job", int), ("versions", [VERSION_FIELDS]), ("next_cursor", bytes),
                          ("last", bool)]),
    36: ("CHUNK_GET", [("job", int), ("ids", bytes)]),
    37: ("RESTORE_RESULT", [("job", int), ("results", [RESULT_FIELDS])]),
    38: ("RESTORE_DONE", [("job", int), ("outcome", int), ("files", int), ("failed", int),
                          ("fetched", int), ("reused", int), ("message", str)]),
    39: ("RESTORE_CANCEL", [("job", int)]),
}
TYPES = {name: number for number, (name, _) in FRAMES.items()}
BULK = {"CHUNKS", "VERSIONS"}


class Malformed(ValueError):
    """Bytes that are no frame of PROTOCOL.md."""


def pack(value):
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")


def is_row(kind):
    return isinstance(kind, list) and isinstance(kind[0], tuple)


def row_fields(kind, values):
    """The fields that a row has: a deletion is a short version."""
    absent = kind is VERSION_FIELDS and len(values) > 1 and values[1] == ABSENT
    return ABSENT_FIELDS if absent else kind


def to_wire(kind, value, check):
    if is_row(kind):
        if isinstance(value, (list, tuple)):
            return list(value)  # made by hand
        kind = ABSENT_FIELDS if kind is VERSION_FIELDS and value["type"] == ABSENT else kind
        return [to_wire(part, value[name], check) for name, part in kind]
    if isinstance(kind, list):
        return [to_wire(kind[0], part, check) for part in value]
    if check and not isinstance(value, kind):
        raise Malformed(f"{value!r} is no {kind.__name__}")
    return value


def from_wire(name, kind, value):
    if is_row(kind):
        if not isinstance(value, list):
            raise Malformed(f"{name} is no array")
        fields = row_fields(kind, value)
        if len(value) < len(fields):
            raise Malformed(f"{name} has {len(value)} fields of {len(fields)}")
        return {part: from_wire(part, sort, item) for (part, sort), item in zip(fields, value)}
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise Malformed(f"{name} is no array")
        return [from_wire(name, kind[0], part) for part in value]
    if type(value) is not kind:
        raise Malformed(f"{name} is {value!r} and no {kind.__name__}")
    return value


def encode(name, seq, /, check=True, **fields):
    """The bytes of a frame; name is one of TYPES."""
    number = TYPES[name]
    return pack([number, seq] + [to_wire(kind, fields[field], check)
                                 for field, kind in FRAMES[number][1]])


def decode(message):
    """A frame as a dictionary: "frame" its name, "seq", and its fields."""
    try:
        values = msgpack.unpackb(message, raw=False, unicode_errors="surrogateescape",
                                 strict_map_key=False)
    except Exception as error:
        raise Malformed(str(error)) from error
    if not isinstance(values, list) or len(values) < 2 or values[0] not in FRAMES:
        raise Malformed(f"no frame: {values!r:.100}")
    name, fields = FRAMES[values[0]]
    if len(values) - 2 < len(fields):
        raise Malformed(f"{name} has {len(values) - 2} fields of {len(fields)}")
    frame = {"frame": name, "seq": from_wire("seq", int, values[1])}
    for (field, kind), value in zip(fields, values[2:]):
        frame[field] = from_wire(field, kind, value)
    return frame


def encode_decoded(frame):
    """What decode took, as bytes again."""
    frame = dict(frame)
    return encode(frame.pop("frame"), frame.pop("seq"), **frame)


# --- a frame, byte by byte, for PROTOCOL.md's examples ---

def shown(value):
    if isinstance(value, bytes):
        if value and all(0x20 <= byte < 0x7f for byte in value):
            return f'bin "{value.decode()}"'
        return f"bin of {len(value)}"
    return json.dumps(value, ensure_ascii=False)


def annotate(message):
    """Lines of hex, each object with its field's name and value."""
    frame = decode(message)
    name, fields = FRAMES[TYPES[frame["frame"]]]
    lines = []

    def line(data, text):
        for start in range(0, len(data), 16):
            part = data[start:start + 16].hex(" ")
            lines.append(f"{part:<48}{text}" if start == 0 else part)

    def head(count, text):
        line(pack([None] * count)[:-count] if count else pack([]), text)

    def walk(label, kind, value, indent):
        pad = "  " * indent
        if is_row(kind):
            parts = ABSENT_FIELDS if kind is VERSION_FIELDS and value["type"] == ABSENT else kind
            head(len(parts), f"{pad}{label}: array of {len(parts)}")
            for part, sort in parts:
                walk(part, sort, value[part], indent + 1)
        elif isinstance(kind, list):
            head(len(value), f"{pad}{label}: array of {len(value)}")
            for item in value:
                walk(label.rstrip("s"), kind[0], item, indent + 1)
        else:
            line(pack(value), f"{pad}{label.replace('_', '-')}: {shown(value)}")

    head(2 + len(fields), f"array of {2 + len(fields)}")
    line(pack(TYPES[name]), f"type: {TYPES[name]} ({name})")
    line(pack(frame["seq"]), f"seq: {frame['seq']}")
    for field, kind in fields:
        walk(field, kind, frame[field], 0)
    return lines


def bytes_of(lines):
    """The bytes of annotated lines."""
    return bytes.fromhex("".join(line.split("  ")[0] for line in lines))


# --- content ---

def chunk_id(plain):
    return hashlib.sha256(plain).digest()


def references(pieces):
    return b"".join(chunk_id(piece) + struct.pack("<I", len(piece)) for piece in pieces)


def block(pieces, **changes):
    """A block of CHUNKS that holds these chunks, raw; changes make it lie."""
    return dict({"codec": RAW, "aid": b"", "chunks": references(pieces), "data": b"".join(pieces)},
                **changes)


def chunk(plain, id=None, plain_size=None, **changes):
    """A block of one chunk."""
    ref = (chunk_id(plain) if id is None else id) + struct.pack(
        "<I", len(plain) if plain_size is None else plain_size)
    return block([plain], **dict({"chunks": ref}, **changes))


def as_path(path):
    return path if isinstance(path, bytes) else os.fsencode(path)


def regular(seq, path, pieces=(), **changes):
    """A version of a regular file whose content is these chunks."""
    return dict({"version_seq": seq, "type": REGULAR, "flags": 0, "path": as_path(path),
                 "captured": time.time_ns(), "mode": 0o644, "uid": 0, "gid": 0, "owner": "root",
                 "group": "root", "mtime": 1_700_000_000_000_000_000,
                 "size": sum(map(len, pieces)), "target": b"", "depth": 0,
                 "refs": references(pieces), "job": 0, "link": 0, "xattrs": b""}, **changes)


def absent(seq, path, **changes):
    return dict({"version_seq": seq, "type": ABSENT, "flags": 0, "path": as_path(path),
                 "captured": time.time_ns()}, **changes)


# --- the connection ---

class Refused(Exception):
    """There was no session: TLS, HTTP or the WebSocket's beginning failed."""


class Ended(Exception):
    """The session is over; `goaway` is the frame that said so, or None for a bare end."""

    def __init__(self, goaway):
        self.goaway = goaway
        self.code = goaway["code"] if goaway else None
        super().__init__(f"GOAWAY {goaway}" if goaway else "cut without a word")


class Client:
    """One session. address is (host, port); certificate a PEM file with key and chain."""

    def __init__(self, address, certificate, ca, path=PATH, subprotocols=(SUBPROTOCOL,),
                 timeout=20):
        self.timeout = timeout  # of each receive, in seconds
        self.sent_seq = 0
        self.received_seq = 0
        self.bulk_sent = 0
        self.credit = 0
        self.acked = {}
        self.frames = []  # that came while something else was waited for
        self.welcome = None
        options = {"ca_certs": str(ca), "cert_reqs": ssl.CERT_REQUIRED}
        if certificate:
            options.update(certfile=str(certificate), keyfile=str(certificate))
        try:
            self.socket = websocket.create_connection(
                f"wss://{address[0]}:{address[1]}{path}", timeout=timeout, sslopt=options,
                subprotocols=list(subprotocols), enable_multithread=False)
        except (OSError, websocket.WebSocketException) as error:
            raise Refused(str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    # Sending

    def send_raw(self, message, opcode=websocket.ABNF.OPCODE_BINARY):
        """One message of these bytes, whatever they are."""
        try:
            self.socket.send(message, opcode)
        except (OSError, websocket.WebSocketException):
            self.drain()

    def send_piece(self, data, opcode, final):
        """One WebSocket frame: a message in pieces is BINARY, then CONT (0), the last final."""
        frame = websocket.ABNF(1 if final else 0, 0, 0, 0, opcode, 1, data)
        self.socket.send_frame(frame)

    def send_stream(self, data):
        """Bytes into the TLS stream, beneath the WebSocket."""
        self.socket.sock.sendall(data)

    def next_seq(self):
        self.sent_seq += 1
        return self.sent_seq

    def send(self, name, /, check=True, **fields):
        """Returns the frame's seq. Bulk waits for credit."""
        seq = self.next_seq()
        message = encode(name, seq, check, **fields)
        if name in BULK:
            self.wait_credit(len(message))
            self.bulk_sent += len(message)
        self.send_raw(message)
        return seq

    def wait_credit(self, size):
        while self.bulk_sent + size > self.credit:
            self.hold(self.receive())

    # Receiving

    def drain(self):
        """What the collector said before it stopped listening; raises Ended."""
        while True:
            self.hold(self.receive())

    def hold(self, frame):
        if frame["frame"] not in ("CREDIT", "ACK"):
            self.frames.append(frame)

    def receive(self):
        """The next frame off the wire; credit and acks are noted. Raises Ended."""
        opcode, end = websocket.ABNF.OPCODE_PING, time.monotonic() + self.timeout
        try:
            while opcode in (websocket.ABNF.OPCODE_PING, websocket.ABNF.OPCODE_PONG):
                if time.monotonic() > end:  # pings are no answer
                    raise TimeoutError("nothing but pings came from the collector")
                opcode, message = self.socket.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            raise TimeoutError("nothing came from the collector") from None
        except TimeoutError:
            raise
        except (OSError, websocket.WebSocketException):
            raise Ended(None) from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Ended(None)
        if opcode != websocket.ABNF.OPCODE_BINARY:
            raise Malformed("the collector sent text")
        frame = decode(message)
        self.received_seq += 1
        if frame["seq"] != self.received_seq:
            raise Malformed(f"frame {frame['seq']} came where {self.received_seq} was due")
        if frame["frame"] == "GOAWAY":
            raise Ended(frame)
        if frame["frame"] == "CREDIT":
            if frame["total"] <= self.credit:
                raise Malformed("CREDIT did not grow")
            self.credit = frame["total"]
        for ack in frame.get("acks", ()):
            self.acked[ack["stream"]] = max(self.acked.get(ack["stream"], 0), ack["version_seq"])
        return frame

    def expect(self, name):
        """The next frame of that name; others are kept for later."""
        for index, frame in enumerate(self.frames):
            if frame["frame"] == name:
                return self.frames.pop(index)
        while True:
            frame = self.receive()
            if frame["frame"] == name:
                return frame
            self.hold(frame)

    def goaway(self):
        """Read until the session ends: the GOAWAY, or None if the connection just ended."""
        try:
            while True:
                self.hold(self.receive())
        except Ended as ended:
            return ended.goaway

    def cut(self):
        """End the connection without a word."""
        try:
            self.socket.shutdown()
        except (OSError, websocket.WebSocketException):
            pass

    # The session's course

    def hello(self, **changes):
        fields = {"version_min": VERSION, "version_max": VERSION, "capabilities": [],
                  "agent_version": "wire-test", "hostname": "wire", "machine_id": "wire",
                  "os": "test", "now": time.time_ns(), "instance": os.urandom(16)}
        fields.update(changes)
        self.send("HELLO", check=False, **fields)
        self.welcome = self.expect("WELCOME")
        self.credit = self.welcome["credit"]
        return self.welcome

    def open_source(self, stream, name, kind="files", class_="config", roots=(b"/data",)):
        self.send("SOURCE", stream=stream, name=name, kind=kind, **{"class": class_},
                  roots=list(roots))
        state = self.expect("SOURCE_STATE")
        assert state["stream"] == stream
        return state

    def send_chunks(self, blocks, job=0):
        return self.send("CHUNKS", check=False, job=job, blocks=blocks)

    def send_versions(self, stream, versions):
        return self.send("VERSIONS", check=False, stream=stream, versions=versions)

    def wait_acked(self, stream, version_seq):
        while self.acked.get(stream, 0) < version_seq:
            self.hold(self.receive())

    def store(self, stream, seq, path, content, **changes):
        """A file of one chunk, durable."""
        self.send_chunks([chunk(content)])
        self.send_versions(stream, [regular(seq, path, [content], **changes)])
        self.wait_acked(stream, seq)

    def need(self, request, ids):
        """The ids that the collector lacks."""
        self.send("HAVE", request=request, ids=b"".join(ids))
        answer = self.expect("NEED")
        assert answer["request"] == request
        assert len(answer["bitmap"]) == (len(ids) + 7) // 8
        return [one for index, one in enumerate(ids)
                if answer["bitmap"][index // 8] >> index % 8 & 1]

    def listing(self, stream):
        """All live versions of a stream."""
        rows, after = [], b""
        while True:
            self.send("LIST", stream=stream, after=after)
            page = self.expect("LISTING")
            rows += page["versions"]
            if page["last"]:
                return rows
            after = page["versions"][-1]["path"]
