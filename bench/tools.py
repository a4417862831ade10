#!/usr/bin/env python3
"""How fast the offline tools are, and how much memory they take, beside what the disk gives.

    bench/tools.py --server target/release/weir-server --weir target/release/weir --count 10000000

For each kind of store a server is filled (a tenth as many subjects as messages), half of the messages are purged from a copy, and the
server is stopped. Then the tools go over it, each from a cold cache (root only: without, files stay in memory and so it is said), the
yardsticks `cat` to /dev/null and `cp -r` with `sync` in turn with them; what is told is the median. Two bars are of speed: `verify` at 0.7
of `cat` or more, `compact` at 0.5 of the copy or more, both of stores that are not compressed, as decompression is not the disk's. One is
of memory: 256 MiB resident, mapped files counted. Ends with 1 if one does not hold. Needs nothing but Python.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

STEP = 10_000
# Seconds of the tool are at most so many times those of the yardstick.
VERIFY, COMPACT = 1 / 0.7, 1 / 0.5
MEMORY = 256
KINDS = {
    "segment": {"weir.backend": "segment"},
    "segment-zstd": {"weir.backend": "segment", "weir.compression": "zstd"},
    "segment-lz4": {"weir.backend": "segment", "weir.compression": "lz4"},
    "rocksdb": {"weir.backend": "rocksdb"},
}


class Client:
    """A connection that asks."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB _I.x 1\r\n')

    def ask(self, subject, body=None):
        raw = b"" if body is None else json.dumps(body).encode()
        self.socket.sendall(b"PUB %s _I.x %d\r\n%s\r\n" % (subject.encode(), len(raw), raw))
        while line := self.file.readline():
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith((b"MSG", b"HMSG")):
                answer = json.loads(self.file.read(int(line.split()[-1]) + 2))
                if "error" in answer:
                    raise SystemExit(f"{subject}: {answer['error']}")
                return answer
        raise SystemExit("the server closed the connection")

    def stored(self):
        return self.ask("$JS.API.STREAM.INFO.T")["state"]["messages"]


class Server:
    """A server over a store, for as long as the block."""

    def __init__(self, command, store, port):
        self.command, self.store, self.port = command, store, port

    def __enter__(self):
        self.process = subprocess.Popen([*self.command.split(), "-js", "-sd", self.store, "-a", "127.0.0.1", "-p", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                client = Client(self.port)
                client.ask("$JS.API.INFO")
                return client
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.command} ended") from None
                time.sleep(0.01)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def body_of(number, size):
    """Text that compresses as text does, not as one letter does."""
    words = (b"%d " % (number * 2654435761 % 4294967296) for number in range(number, number + size // 8 + 1))
    return b"".join(words)[:size].ljust(size, b".")


def fill(client, count, size, metadata):
    client.ask("$JS.API.STREAM.CREATE.T", {
        "name": "T", "subjects": ["t.>"], "storage": "file", "num_replicas": 1, "retention": "limits", "discard": "old",
        "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1, "metadata": metadata,
    })
    subjects = max(count // 10, 1)
    bodies = [body_of(number * 7919, size) for number in range(997)]
    # Every other message can be purged by its subject.
    step = max(1, min(STEP, (8 << 20) // (size + 40)))
    for first in range(0, count, step):
        some = range(first, min(first + step, count))
        client.socket.sendall(b"".join(
            b"PUB t.%s.%d %d\r\n%s\r\n" % (b"ab"[n % 2 : n % 2 + 1], n % subjects, size, bodies[n % 997]) for n in some))
        while client.stored() < first - 2 * step:
            time.sleep(0.002)
    while client.stored() < count:
        time.sleep(0.01)


def chill():
    """Whether files are out of memory now."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as caches:
            caches.write("3")
        return True
    except OSError:
        return False


def run(command):
    """Seconds, seconds of the processor, and MiB resident at most."""
    chill()
    begin = time.monotonic()
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=subprocess.PIPE, shell=isinstance(command, str))
        error = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    if status != 0:
        raise SystemExit(f"{command}: ended with {os.waitstatus_to_exitcode(status)}: {error[-500:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def medians(runs):
    return [statistics.median(column) for column in zip(*runs)]


class Table:
    """What was measured, and whether all bars hold."""

    def __init__(self):
        self.holds = True
        print(f"{'store':>14} {'what':>10} {'s':>7} {'CPU s':>7} {'MiB':>6} {'beside':>7}  bars", flush=True)

    def add(self, store, what, found, beside=None, most=None):
        seconds, processor, memory = found
        bars = []
        if most is not None:
            bars.append(("speed", seconds <= most * beside))
        if what not in ("cat", "cp"):
            bars.append(("memory", memory <= MEMORY))
        self.holds &= all(holds for _, holds in bars)
        ratio = f"{beside / seconds:.2f}" if beside else ""
        said = ", ".join(f"{bar} {'holds' if holds else 'DOES NOT HOLD'}" for bar, holds in bars)
        print(f"{store:>14} {what:>10} {seconds:>7.2f} {processor:>7.2f} {memory:>6.0f} {ratio:>7}  {said}", flush=True)


def measure(options, kind, size, table):
    name = f"{kind} {size}"
    below = tempfile.mkdtemp(dir=options.below)
    store, purged, other, work = (os.path.join(below, name) for name in ("store", "purged", "other", "work"))
    os.mkdir(store)
    has_bar = kind in ("segment", "rocksdb")
    try:
        count = max(1000, options.count * 168 // (size + 40))
        with Server(options.server, store, options.port) as client:
            fill(client, count, size, KINDS[kind])
        cats, verifies = [], []
        for _ in range(options.repeat):
            cats.append(run(f"find '{store}' -type f -print0 | xargs -0 cat"))
            verifies.append(run([options.weir, "verify", store]))
        cat = medians(cats)
        table.add(name, "cat", cat)
        table.add(name, "verify", medians(verifies), cat[0], VERIFY if has_bar else None)
        table.add(name, "inspect", run([options.weir, "inspect", store]), cat[0])
        table.add(name, "dump", run([options.weir, "dump", store, "--stream", "T"]), cat[0])
        shutil.copytree(store, other)
        table.add(name, "diff", run([options.weir, "diff", store, other]), cat[0])
        shutil.rmtree(other)
        table.add(name, "export", run([options.weir, "export", store, "--stream", "T", work]), cat[0])
        os.mkdir(other)
        table.add(name, "import", run([options.weir, "import", other, work]), cat[0])
        shutil.rmtree(other)
        shutil.rmtree(work)
        to = "rocksdb" if kind != "rocksdb" else "segment"
        shutil.copytree(store, other)
        table.add(name, "convert", run([options.weir, "convert", other, "--to", to]), cat[0])
        shutil.rmtree(other)
        # Stopped before the server gives back much by itself.
        os.rename(store, purged)
        with Server(options.server, purged, options.port) as client:
            client.ask("$JS.API.STREAM.PURGE.T", {"filter": "t.a.>"})
        copies, compacts = [], []
        for _ in range(options.repeat):
            copies.append(run(f"cp -r '{purged}' '{work}' && sync"))
            compacts.append(run([options.weir, "compact", work]))
            shutil.rmtree(work)
        copy = medians(copies)
        table.add(name, "cp", copy)
        table.add(name, "compact", medians(compacts), copy[0], COMPACT if has_bar else None)
    finally:
        shutil.rmtree(below)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--server", required=True, metavar="COMMAND")
    options.add_argument("--weir", required=True, metavar="PROGRAM")
    options.add_argument("--count", type=int, default=10_000_000, help="messages of 128 bytes; of larger ones so many that bytes are the same")
    options.add_argument("--kinds", default="segment,rocksdb", help=f"separated by commas, of {', '.join(KINDS)}")
    options.add_argument("--sizes", default="128", help="bytes of a message, separated by commas")
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--port", type=int, default=14312)
    options.add_argument("--below", help="the folder in which stores are made; it needs room for three")
    options = options.parse_args()
    if not chill():
        print("Only root can empty the cache: files are in memory, and what is told says nothing of a disk.")
    table = Table()
    for kind in options.kinds.split(","):
        for size in options.sizes.split(","):
            measure(options, kind, int(size), table)
    print("All bars hold." if table.holds else "Not all bars hold.")
    sys.exit(0 if table.holds else 1)


if __name__ == "__main__":
    main()
