#!/usr/bin/env python3
"""What a publisher feels of the work that a server does beside it: scrubbing, recompression, giving space back, a live move to another
backend, a backup, and a replay of what no memory holds.

    bench/beside.py --server target/release/weir-server --backend segment --mib 1024

A publisher sends 2,000 messages of 256 bytes a second, each at its time whether those before it are acknowledged or not, to a stream of
its own, over eight connections; all streams share one storage thread. First without anything beside it, then with each piece of work on
a second stream of so many MiB, for as long as the work takes, and without once more. Latencies are from the time when a message was due to
its acknowledgement. The bar is a p99 at most twice that without. Only for comparisons on one machine. Needs nothing but Python.
"""

import argparse
import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

RATE = 2000
CONNECTIONS = 8
BODY = b"x" * 256
# Of the stream that is worked on.
SIZE = 16384
WINDOW = 256
# Work that does not end by itself is looked at for so many seconds at most.
LONGEST = 60
BAR = 2.0


class Connection(asyncio.Protocol):
    """Sends requests, and takes the time until they are answered."""

    def __init__(self, number):
        self.number = number
        self.buffer = b""
        self.waiting = {}
        self.latencies = []
        self.errors = 0
        self.sent = 0

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(
            b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _R.%d.* 1\r\n' % self.number
        )

    def data_received(self, data):
        self.buffer += data
        at = 0
        while (end := self.buffer.find(b"\r\n", at)) >= 0:
            line = self.buffer[at:end]
            if not line.startswith((b"MSG", b"HMSG")):
                at = end + 2
                if line == b"PING":
                    self.transport.write(b"PONG\r\n")
                continue
            words = line.split(b" ")
            size = int(words[-1])
            if len(self.buffer) < end + 4 + size:
                break
            body = self.buffer[end + 2:end + 2 + size]
            at = end + 4 + size
            waited = self.waiting.pop(int(words[1].rsplit(b".", 1)[1]), None)
            if isinstance(waited, float):
                self.latencies.append(time.perf_counter() - waited)
                self.errors += line.startswith(b"H") or b'"error"' in body
            elif waited is not None:
                waited.set_result(body)
        self.buffer = self.buffer[at:]

    def publish(self, subject, body, waits):
        """`waits`: since when, or the future that takes the answer."""
        self.sent += 1
        self.waiting[self.sent] = waits
        self.transport.write(
            b"PUB %s _R.%d.%d %d\r\n%s\r\n" % (subject, self.number, self.sent, len(body), body)
        )

    async def ask(self, subject, request=None):
        answer = asyncio.get_running_loop().create_future()
        body = b"" if request is None else json.dumps(request).encode()
        self.publish(subject.encode(), body, answer)
        answer = json.loads(await asyncio.wait_for(answer, 120))
        assert "error" not in answer, answer
        return answer


async def load(connections, seconds, is_over=lambda: False):
    """The latencies of a publisher, in milliseconds and in order."""
    for connection in connections:
        connection.latencies, connection.errors = [], 0
    begin, sent = time.perf_counter(), 0
    while sent < seconds * RATE and not is_over():
        now = time.perf_counter()
        while begin + sent / RATE <= now:
            connections[sent % CONNECTIONS].publish(b"p.a", BODY, begin + sent / RATE)
            sent += 1
        await asyncio.sleep(0.0005)
    while any(isinstance(waits, float) for connection in connections for waits in connection.waiting.values()):
        await asyncio.sleep(0.01)
    errors = sum(connection.errors for connection in connections)
    assert errors == 0, f"{errors} publishes were refused"
    return sorted(1000 * latency for connection in connections for latency in connection.latencies)


def at(latencies, part):
    return latencies[min(len(latencies) - 1, int(part * len(latencies)))]


class Server:
    def __init__(self, program, backend, root, reader_mib):
        self.program, self.backend, self.reader_mib = program, backend, reader_mib
        self.store = os.path.join(root, "store")
        self.config = os.path.join(root, "server.conf")
        self.log = os.path.join(root, "server.log")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def start(self, scrub="off"):
        with open(self.config, "w") as config:
            config.write("jetstream { shards: 1, scrub: %s }\n" % scrub)
        log = open(self.log, "a")
        command = [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.store, "-c", self.config]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit(f"the server does not start: see {self.log}")

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            self.process = None

    def chill(self):
        """Has the kernel forget what the files hold; the server does not run."""
        os.sync()
        for folder, _, names in os.walk(self.store):
            for name in names:
                file = os.open(os.path.join(folder, name), os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)

    def disk(self):
        total = 0
        for folder, _, names in os.walk(self.store):
            for name in names:
                try:
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
                except OSError:
                    pass
        return total

    async def connect(self):
        loop = asyncio.get_running_loop()
        connections = []
        for number in range(CONNECTIONS):
            made = await loop.create_connection(lambda number=number: Connection(number), "127.0.0.1", self.port)
            connections.append(made[1])
        return connections

    def stream(self, name, backend=None, **metadata):
        metadata = {"weir." + key: value for key, value in metadata.items()}
        return {
            "name": name, "subjects": [name.lower() + ".*"], "storage": "file",
            "metadata": {"weir.backend": backend or self.backend, **metadata},
        }


async def fill(connection, mib, body_of):
    waiting = []
    for number in range(mib * 2**20 // SIZE):
        subject = b"b.keep" if number % 10 == 0 else b"b.go"
        answer = asyncio.get_running_loop().create_future()
        connection.publish(subject, body_of(number), answer)
        waiting.append(answer)
        if len(waiting) == WINDOW:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)


def text_of(number):
    line = b"%08d some text that repeats itself, and more of it " % number
    return (line * (SIZE // len(line) + 1))[:SIZE]


def noise_of(_):
    return os.urandom(SIZE)


class Pace:
    """Holds a reader to what its network carries."""

    def __init__(self, mib):
        self.rate, self.begin, self.got = mib * 2**20, time.monotonic(), 0

    def took(self, count):
        self.got += count
        if self.rate:
            time.sleep(max(0.0, self.begin + self.got / self.rate - time.monotonic()))


def read_until(port, subject, request, is_chunked, size, mib):
    """A reader that is a process of its own and looks at as little as it can: asks, and reads until the end."""
    pace = Pace(mib)
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB to.reader 1\r\nSUB answer.reader 2\r\n')
    link.sendall(b"PUB %s answer.reader %d\r\n%s\r\n" % (subject.encode(), len(request), request))
    if not is_chunked:
        buffer = bytearray(1 << 17)
        while pace.got < size:
            pace.took(link.recv_into(buffer))
        return
    lines = link.makefile("rb", buffering=1 << 18)
    while line := lines.readline():
        words = line.split()
        if words[0] == b"PING":
            link.sendall(b"PONG\r\n")
        if words[0] not in (b"MSG", b"HMSG"):
            continue
        body = lines.read(int(words[-1]) + 2)
        pace.took(len(body))
        if words[2] == b"2":
            assert b'"error"' not in body, body
        elif words[0] == b"HMSG" or len(body) == 2:
            return
        else:
            link.sendall(b"PUB %s 0\r\n\r\n" % words[3])


def reader(server, subject, request, is_chunked, size):
    words = [sys.executable, os.path.abspath(__file__), "--reader", str(server.port), subject, json.dumps(request)]
    process = subprocess.Popen([*words, str(int(is_chunked)), str(size), str(server.reader_mib)])

    def is_over():
        code = process.poll()
        assert not code, f"the reader ended with {code}"
        return code is not None

    return is_over


class Works:
    """Each begins a piece of work, and answers with what says whether it is over; then with what came of it."""

    def __init__(self, server, mib):
        self.server, self.mib = server, mib

    def settled(self, quiet=3.0):
        """Over when the disk use has not changed for that many seconds."""
        seen = [self.server.disk(), time.monotonic(), 0.0]

        def is_over():
            now = time.monotonic()
            if now - seen[2] > 0.25:
                seen[2] = now
                disk = self.server.disk()
                if abs(disk - seen[0]) > 8 << 20:
                    seen[0], seen[1] = disk, now
            return now - seen[1] > quiet

        return is_over

    async def restarted(self, scrub="off", cold=False):
        self.server.stop()
        if cold:
            self.server.chill()
        self.server.start(scrub)
        return await self.server.connect()

    async def scrub(self, connections):
        connections = await self.restarted("{ cycle: 1s, rate: 16M }")
        return connections, lambda: False, 15

    async def recompress(self, connections):
        await connections[0].ask("$JS.API.STREAM.UPDATE.B", self.server.stream("B", compression="lz4"))
        return connections, self.settled(), LONGEST

    async def delete(self, connections):
        await connections[0].ask("$JS.API.STREAM.PURGE.B", {"filter": "b.go"})
        return connections, self.settled(), LONGEST

    async def move(self, connections):
        other = {"segment": "rocksdb", "rocksdb": "segment"}[self.server.backend]
        await connections[0].ask("$JS.API.STREAM.UPDATE.B", self.server.stream("B", other))
        return connections, self.settled(), LONGEST

    async def backup(self, connections):
        connections = await self.restarted(cold=True)
        request = {"deliver_subject": "to.reader", "no_consumers": True}
        return connections, reader(self.server, "$JS.API.STREAM.SNAPSHOT.B", request, True, 0), LONGEST

    async def replay(self, connections):
        connections = await self.restarted(cold=True)
        config = {"deliver_subject": "to.reader", "ack_policy": "none", "deliver_policy": "all"}
        request = {"stream_name": "B", "config": config}
        size = self.mib << 20
        return connections, reader(self.server, "$JS.API.CONSUMER.CREATE.B", request, False, size), LONGEST


WORKS = {
    # What it is called: whether the stream can be made smaller, and whether it must be made anew afterwards.
    "scrub": (noise_of, False),
    "backup": (noise_of, False),
    "replay": (noise_of, False),
    "move": (noise_of, True),
    "delete": (noise_of, True),
    "recompress": (text_of, True),
}


async def measure(options, root):
    server = Server(options.server, options.backend, root, options.reader_mib)
    works = Works(server, options.mib)
    server.start()
    failed, filled = [], None
    try:
        connections = await server.connect()
        await connections[0].ask("$JS.API.STREAM.CREATE.P", server.stream("P"))
        line = "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}"
        print(line.format("beside", "p50", "p99", "max", "p50 with", "p99 with", "max with", "ratio", "seconds"))
        for name in options.only or WORKS:
            body_of, uses_up = WORKS[name]
            if filled is not body_of:
                if filled:
                    await connections[0].ask("$JS.API.STREAM.DELETE.B")
                await connections[0].ask("$JS.API.STREAM.CREATE.B", server.stream("B"))
                await fill(connections[1], options.mib, body_of)
                os.sync()
                filled = body_of
            gc.collect()
            gc.disable()
            without = await load(connections, options.seconds)
            connections, is_over, longest = await getattr(works, name)(connections)
            begin = time.monotonic()
            beside = await load(connections, longest, is_over)
            took = time.monotonic() - begin
            gc.enable()
            if uses_up:
                filled = False
                await connections[0].ask("$JS.API.STREAM.DELETE.B")
            if name in ("scrub", "backup", "replay"):
                connections = await works.restarted()
            without = sorted(without + await load(connections, options.seconds))
            ratio = at(beside, 0.99) / at(without, 0.99)
            figures = [f"{at(of, part):.2f}" for of in (without, beside) for part in (0.5, 0.99, 1)]
            print(line.format(name, *figures, f"{ratio:.2f}", f"{took:.1f}"), flush=True)
            if ratio > BAR:
                failed.append(name)
    finally:
        server.stop()
    return failed


def main():
    if sys.argv[1:2] == ["--reader"]:
        port, subject, request, is_chunked, size, mib = sys.argv[2:]
        read_until(int(port), subject, request.encode(), bool(int(is_chunked)), int(size), int(mib))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="the server's program")
    parser.add_argument("--backend", default="segment", choices=["segment", "rocksdb"])
    parser.add_argument("--mib", type=int, default=1024, help="MiB of the stream that is worked on (1024)")
    parser.add_argument("--seconds", type=float, default=8, help="how long to look without anything, before and after (8)")
    parser.add_argument("--only", type=lambda names: names.split(","), help="of " + ", ".join(WORKS))
    parser.add_argument("--reader-mib", type=int, default=110,
                        help="what a reader's network carries, MiB/s: a gigabit (110); 0 for no limit")
    parser.add_argument("--root", help="where the store is made (a temporary folder)")
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(WORKS)
    if unknown:
        parser.error(f"no work is called {', '.join(unknown)}")
    root = tempfile.mkdtemp(prefix="weir-beside-", dir=options.root)
    try:
        failed = asyncio.run(measure(options, root))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if failed:
        sys.exit(f"p99 of more than {BAR} times that without: {', '.join(failed)}")


main()
