"""Requests a second over one SSH connection, by asyncssh: api.py rollcall PORT KEY RESOURCE | api.py korv PORT KEY RESOURCE

Prints one line of JSON. Both servers get the same number of requests under way."""

import asyncio
import gzip
import json
import sys
import time

import asyncssh

UNDER_WAY = 32
SEQUENTIAL = 1_000
SECONDS = 5.0


class Korv(asyncssh.SSHTCPSession):
    """What korv's own client does for each request and each answer, without its threads."""

    def connection_made(self, chan):
        self.chan, self.number, self.answered = chan, 0, lambda: None

    def data_received(self, data, datatype):
        answer = json.loads(gzip.decompress(data))
        assert answer["code"] == 200, answer
        self.answered()

    def ask(self, resource, count):
        for _ in range(count):
            self.number += 1
            request = {"id": self.number, "verb": "GET", "resource": resource, "body": None}
            self.chan.write(gzip.compress(json.dumps(request, separators=(",", ":")).encode()))


class Lines(asyncssh.SSHClientSession):
    """The subsystem `rollcall-api`. Requests that are sent at the same time share a packet."""

    def connection_made(self, chan):
        self.chan, self.number, self.rest, self.answered = chan, 0, b"", lambda: None

    def data_received(self, data, datatype):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "hello" not in answer:
                assert answer["code"] == 200, answer
            self.answered()

    def ask(self, resource, count):
        lines = []
        for _ in range(count):
            self.number += 1
            lines.append(json.dumps({"id": self.number, "verb": "GET", "resource": resource}, separators=(",", ":")))
        self.chan.write(("\n".join(lines) + "\n").encode())


class Load:
    """Keeps `width` requests under way until `done` says that it is enough. Answers that come together are followed by
    requests that go together."""

    def __init__(self, session, resource):
        self.session, self.resource = session, resource
        self.loop = asyncio.get_running_loop()

    async def run(self, width, done):
        self.count, self.free, self.width, self.done = 0, 0, width, done
        self.end, self.planned = self.loop.create_future(), False
        self.session.answered = self.answered
        self.begun = time.perf_counter()
        self.session.ask(self.resource, width)
        await self.end
        return self.count / (time.perf_counter() - self.begun)

    def answered(self):
        self.count += 1
        self.free += 1
        if not self.planned:
            self.planned = True
            self.loop.call_soon(self.refill)

    def refill(self):
        self.planned = False
        free, self.free = self.free, 0
        if not self.done(self.count, time.perf_counter() - self.begun):
            self.session.ask(self.resource, free)
        elif not self.end.done():
            self.width -= free
            if self.width <= 0:
                self.end.set_result(None)


async def sequential(session, resource):
    times = []
    for _ in range(SEQUENTIAL):
        answer = asyncio.get_running_loop().create_future()
        session.answered = lambda: answer.set_result(None)
        begun = time.perf_counter()
        session.ask(resource, 1)
        await answer
        times.append(time.perf_counter() - begun)
    times.sort()
    return times


async def main(server, port, key, resource):
    options = {"username": "rollcall", "client_keys": [key], "known_hosts": None, "compression_algs": None}
    async with asyncssh.connect("127.0.0.1", int(port), **options) as connection:
        if server == "korv":
            _, session = await connection.create_connection(Korv, "127.0.0.1", int(port))
        else:
            _, session = await connection.create_session(Lines, subsystem="rollcall-api", encoding=None)
            hello = asyncio.get_running_loop().create_future()
            session.answered = lambda: hello.set_result(None)
            await hello
        times = await sequential(session, resource)
        rate = await Load(session, resource).run(UNDER_WAY, lambda count, seconds: seconds > SECONDS)
        print(json.dumps({
            "server": server, "resource": resource, "under_way": UNDER_WAY, "per_second": round(rate),
            "sequential_per_second": round(len(times) / sum(times)),
            "median_ms": round(times[len(times) // 2] * 1e3, 3), "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 3),
        }))


asyncio.run(main(*sys.argv[1:]))
