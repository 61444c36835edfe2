"""What the boards cost in terminals: boards_terminal.py RUN PID FOLDER

RUN is a run of many hosts, PID the daemon, FOLDER that of the demo. Prints one line for each measurement, with the number of the
requirement that it belongs to (docs/measured.md)."""

import asyncio
import os
import re
import statistics
import sys
import time

import asyncssh

RUN, PID, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
BOARDS = 100
CONNECTIONS = 10
STALLED = 20
TICK = os.sysconf("SC_CLK_TCK")


class Terminal(asyncssh.SSHClientSession):
    """A terminal that counts what it is sent; one that is stalled reads nothing."""

    def __init__(self, stalled=False):
        self.stalled, self.bytes, self.first = stalled, 0, asyncio.Event()

    def connection_made(self, chan):
        self.chan = chan

    def session_started(self):
        if self.stalled:
            self.chan.pause_reading()

    def data_received(self, data, datatype):
        self.bytes += len(data)
        # The first bytes only ask for another screen.
        if self.bytes > 300:
            self.first.set()


async def connected():
    port = int(re.search(r"Port (\d+)", open(f"{FOLDER}/ssh_config").read())[1])
    return await asyncssh.connect("127.0.0.1", port, client_keys=[f"{FOLDER}/operator"], known_hosts=None, username="you")


async def opened(connection, words="board", size=(80, 24), stalled=False):
    chan, terminal = await connection.create_session(
        lambda: Terminal(stalled), words, term_type="xterm-256color", term_size=size, encoding=None)
    return chan, terminal


def memory():
    text = open(f"/proc/{PID}/smaps_rollup").read()
    return int(re.search(r"Pss_Anon:\s+(\d+)", text)[1])


def processor():
    fields = open(f"/proc/{PID}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def first_frames(connection):
    for size in ((80, 24), (200, 50)):
        for words in ("board", f"board run {RUN}"):
            times, sizes = [], []
            for _ in range(5):
                start = time.monotonic()
                chan, terminal = await opened(connection, words, size)
                await terminal.first.wait()
                times.append((time.monotonic() - start) * 1_000)
                await asyncio.sleep(0.3)
                sizes.append(terminal.bytes)
                chan.close()
                await chan.wait_closed()
            print(f"T1 `{words}`, {size[0]}x{size[1]}: {statistics.median(times):.0f} ms to the first frame, "
                  f"{statistics.median(sizes):.0f} bytes")
    chan, terminal = await opened(connection)
    await asyncio.sleep(2)
    before = terminal.bytes
    await asyncio.sleep(20)
    print(f"T1 a board at rest: {(terminal.bytes - before) / 20:.0f} bytes a second")
    chan.close()


async def ran(connection, selector):
    """How long a command on all hosts takes."""
    start = time.monotonic()
    await connection.run(f"run {selector} -- true", check=False)
    return time.monotonic() - start


async def many_boards(connection):
    await ran(connection, "web")
    alone = [await ran(connection, "web") for _ in range(3)]
    others = [await connected() for _ in range(CONNECTIONS)]
    # What a connection and a channel take by themselves is no board.
    channels = [await other.create_session(asyncssh.SSHClientSession, "watch") for other in others]
    before = memory()
    boards = [await opened(others[at % CONNECTIONS], f"board run {RUN}", (80, 24)) for at in range(BOARDS)]
    await asyncio.gather(*(terminal.first.wait() for _, terminal in boards))
    await asyncio.sleep(2)
    used = processor()
    await asyncio.sleep(10)
    print(f"B1 {BOARDS} boards on run {RUN}: {(memory() - before) / BOARDS:.0f} KiB each, "
          f"{(processor() - used) / 10 * 100:.0f} % of a core at rest")
    used, start = processor(), time.monotonic()
    beside = [await ran(connection, "web") for _ in range(3)]
    share = (processor() - used) / (time.monotonic() - start) * 100
    print(f"B1 `run web -- true` alone {statistics.median(alone):.2f} s, beside {BOARDS} boards "
          f"{statistics.median(beside):.2f} s ({share:.0f} % of a core, hosts included)")
    for chan, _ in boards:
        chan.close()
    stalled = [await opened(others[at % CONNECTIONS], "board", stalled=True) for at in range(STALLED)]
    beside = [await ran(connection, "web") for _ in range(3)]
    print(f"T2 the same beside {STALLED} boards that read nothing: {statistics.median(beside):.2f} s")
    for chan, _ in [*stalled, *channels]:
        chan.close()
    for other in others:
        other.close()


async def measured():
    async with await connected() as connection:
        await first_frames(connection)
        await many_boards(connection)


asyncio.run(measured())
