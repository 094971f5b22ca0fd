"""What this machine can do at all: the limits beside which the figures of a run stand.

Throughputs are bytes a second on one core, latencies seconds. Each takes a second or so.
"""
import os
import re
import socket
import ssl
import statistics
import subprocess
import threading
import time

import measuring

MB = 1_000_000
SAMPLE_BYTES = 32 * MB


def _output(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise measuring.Failed(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def memcpy():
    source, target = memoryview(bytes(256 * MB)), memoryview(bytearray(256 * MB))
    target[:] = source  # its pages are there from now on
    start = time.monotonic()
    for _ in range(4):
        target[:] = source
    return 4 * len(source) / (time.monotonic() - start)


def openssl_speed(algorithm):
    text = _output("openssl", "speed", "-seconds", "1", "-bytes", "65536", "-mr", "-evp", algorithm)
    return float(re.search(r"^\+F:\d+:[^:]+:([\d.]+)", text, re.MULTILINE)[1])


def zstd_speed(sample):
    """Of levels 1 and 3: compression, decompression, and the part of the bytes that is left."""
    figures = {}
    for line in _output("zstd", "-q", "-b1", "-e3", "-i1", sample).splitlines():
        found = re.match(r"-(\d)\s+\d+ \(([\d.]+)\)\s+([\d.]+) MB/s\s+([\d.]+) MB/s", line)
        if found:
            figures[int(found[1])] = {"compress": float(found[3]) * MB, "decompress": float(found[4]) * MB,
                                      "ratio": float(found[2])}
    return figures


def tls_loopback(directory):
    """TLS 1.3, AES-256-GCM, from one thread to another; both ends run at once, on a core each if there are two."""
    key, certificate = directory / "limits.key", directory / "limits.pem"
    _output("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=certificate)
    client.check_hostname = False
    piece, pieces = bytes(256 * 1024), 2000
    received = []

    def receive(listener):
        connection, _ = listener.accept()
        with serving.wrap_socket(connection, server_side=True) as stream:
            room = bytearray(len(piece))
            left = pieces * len(piece)
            while left > 0:
                left -= stream.recv_into(room)
            stream.sendall(b"all")
        received.append(True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=receive, args=(listener,), daemon=True)
        thread.start()
        with client.wrap_socket(socket.create_connection(listener.getsockname())) as stream:
            start = time.monotonic()
            for _ in range(pieces):
                stream.sendall(piece)
            stream.recv(3)
            took = time.monotonic() - start
        thread.join()
    key.unlink()
    certificate.unlink()
    return pieces * len(piece) / took


def fdatasync_latency(directory, count=200):
    """Of appending 4 KiB and making it durable, as a committer does."""
    path = directory / "limits.sync"
    times = []
    with open(path, "wb", buffering=0) as handle:
        for _ in range(count):
            handle.write(bytes(4096))
            start = time.monotonic()
            os.fdatasync(handle.fileno())
            times.append(time.monotonic() - start)
    path.unlink()
    times.sort()
    return {"p50_s": statistics.median(times), "p99_s": times[int(count * 0.99) - 1], "max_s": times[-1]}


def limits(directory, sample):
    """All of them. `sample` is a file of the data that is compressed here."""
    return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "memcpy": memcpy(), "sha256": openssl_speed("sha256"), "aes_256_gcm": openssl_speed("aes-256-gcm"),
            "zstd": zstd_speed(sample), "tls_loopback": tls_loopback(directory),
            "fdatasync": fdatasync_latency(directory)}


def floor(limits_found, content_bytes, wire_bytes):
    """What no program that hashes, compresses (zstd -1), encrypts for the wire and at rest, and decrypts once can
    stay below on this machine: the cost of capturing and of restoring that much content."""
    zstd = limits_found["zstd"][1]
    crypt = wire_bytes * 3 / limits_found["aes_256_gcm"]  # the wire at both ends, and at rest
    capture = content_bytes / limits_found["sha256"] + content_bytes / zstd["compress"] + crypt
    restore = content_bytes / limits_found["sha256"] + content_bytes / zstd["decompress"] + crypt
    cores = limits_found["cores"]
    return {"first": {"wall_s": capture / cores, "cpu_s": capture}, "restore": {"wall_s": restore / cores,
                                                                               "cpu_s": restore}}
