"""A client of rollcall: every command as a resource, over SSH.

    async with await rollcall.connect("rollcall.example", username="rollcall") as site:
        async for host in site.items("/hosts", selector="prod"):
            print(host["host"])
        run = await site.start("/runs", task="deploy", selector="prod", params={"version": "1.4.2"})
        recap = await site.wait(run)

Resources and their fields: docs/api.md and docs/openapi.json in the repository of rollcall.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import asyncssh

__all__ = ["Lost", "Refused", "Rollcall", "connect"]

Item = dict[str, Any]


class Refused(Exception):
    """rollcall does not do it: `code` is that of HTTP, `body` the problem, with `detail` and perhaps `hint`."""

    def __init__(self, code: int, body: Item) -> None:
        hint = f"; {body['hint']}" if body.get("hint") else ""
        super().__init__(f"{body.get('detail', 'refused')}{hint}")
        self.code = code
        self.body = body


class Lost(Exception):
    """The connection ended before the answer. A request with the same key starts no second run."""


async def connect(host: str, port: int = 22, **options: Any) -> Rollcall:
    """Connects; `options` are those of `asyncssh.connect`, which verifies the host key by known_hosts."""
    connection = await asyncssh.connect(host, port, **options)
    try:
        process = await connection.create_process(subsystem="rollcall-api", encoding=None)
        hello = json.loads(await process.stdout.readline())["hello"]
    except BaseException:
        connection.close()
        raise
    return Rollcall(connection, process, hello)


class Rollcall:
    """One channel. Requests need not wait for each other."""

    def __init__(self, connection: asyncssh.SSHClientConnection, process: Any, hello: Item) -> None:
        self.hello = hello
        self._connection = connection
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Item | None]] = {}
        # The server refuses more at the same time.
        self._places = asyncio.Semaphore(hello["limits"]["under_way"] - 1)
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> Rollcall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection. Runs that were started go on."""
        self._connection.close()
        await self._connection.wait_closed()
        await self._reading

    async def get(self, resource: str, **fields: Any) -> Any:
        """The object of a resource; a page of items with `items` and `next` for lists."""
        return await self._ask("GET", resource, fields)

    async def items(self, resource: str, **fields: Any) -> AsyncIterator[Item]:
        """All items of a list, page by page."""
        cursor: str | None = None
        while True:
            more = fields if cursor is None else {**fields, "cursor": cursor}
            page = await self.get(resource, **more)
            for item in page["items"]:
                yield item
            cursor = page["next"]
            if more := page.get("more"):
                fields, cursor = {**fields, **more}, None
            elif cursor is None:
                return

    async def store(self, resource: str, **fields: Any) -> Any:
        """Acts: what HTTP does by POST."""
        return await self._ask("STORE", resource, fields)

    async def delete(self, resource: str, **fields: Any) -> Any:
        """Ends what the resource is: a lease, a downtime, a session."""
        return await self._ask("DELETE", resource, fields)

    async def start(self, resource: str, key: str | None = None, **fields: Any) -> int:
        """Starts a run and returns its number. The same `key` again returns the same run."""
        answer = await self._ask("STORE", resource, fields, key or str(uuid.uuid4()))
        if "run" not in answer:
            raise Refused(200, {"detail": "no run was needed"})
        return int(answer["run"])

    async def wait(self, run: int) -> Item:
        """Follows a run to its end; its recap."""
        async for one in self.watch(f"/runs/{run}/events"):
            if one["schema"] == "recap":
                return one
        raise Lost(f"run {run} goes on, and is followed no more")

    async def watch(self, resource: str, **fields: Any) -> AsyncIterator[Item]:
        """Objects as they happen: `/events`, `/runs/41/events`."""
        number, answers = await self._send("WATCH", resource, fields)
        try:
            while True:
                answer = _whole(await answers.get())
                if answer.get("done"):
                    return
                yield answer["body"]
        finally:
            self._forget(number)
            self._cancel(number)

    async def _ask(self, verb: str, resource: str, fields: Item, key: str | None = None) -> Any:
        number, answers = await self._send(verb, resource, fields, key)
        try:
            answer = await answers.get()
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._forget(number)
        return _whole(answer)["body"]

    async def _send(
        self, verb: str, resource: str, fields: Item, key: str | None = None
    ) -> tuple[int, asyncio.Queue[Item | None]]:
        await self._places.acquire()
        number = next(self._numbers)
        self._waiting[number] = answers = asyncio.Queue()
        if self._reading.done():
            answers.put_nowait(None)
        request = {"id": number, "verb": verb, "resource": resource, "body": fields}
        self._write(request if key is None else {**request, "idempotency_key": key})
        return number, answers

    def _cancel(self, number: int) -> None:
        if not self._process.is_closing():
            self._write({"id": next(self._numbers), "verb": "CANCEL", "body": {"id": number}})

    def _write(self, request: Item) -> None:
        self._process.stdin.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        self._places.release()

    async def _read(self) -> None:
        try:
            while line := await self._process.stdout.readline():
                answer = json.loads(line)
                if answers := self._waiting.get(answer["id"]):
                    answers.put_nowait(answer)
        except (asyncssh.Error, OSError):
            pass
        for answers in self._waiting.values():
            answers.put_nowait(None)


def _whole(answer: Item | None) -> Item:
    if answer is None:
        raise Lost("the connection ended before the answer")
    if answer["code"] >= 400:
        raise Refused(answer["code"], answer["body"])
    return answer
