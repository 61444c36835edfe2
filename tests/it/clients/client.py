"""One command over one SSH library: LIBRARY PORT KEY LINE. Standard input is passed on where there is some; the
exit status and both outputs are those of the command. REKEY=1 exchanges keys again while the output arrives."""

import asyncio
import os
import socket
import sys

LIBRARY, PORT, KEY, LINE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
REKEY = os.environ.get("REKEY") == "1"
INPUT = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()


def finish(status, out, err):
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    sys.stdout.flush()
    sys.exit(status)


def by_paramiko():
    import threading

    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", PORT, "ann", key_filename=KEY, look_for_keys=False, allow_agent=False)
    channel = client.get_transport().open_session()
    channel.exec_command(LINE)
    err = []
    reader = threading.Thread(target=lambda: err.append(channel.makefile_stderr("rb").read()))
    reader.start()
    writer = threading.Thread(target=lambda: (channel.sendall(INPUT), channel.shutdown_write()))
    writer.start()
    out = b""
    while True:
        piece = channel.recv(65536)
        if not piece:
            break
        if REKEY and not out:
            client.get_transport().renegotiate_keys()
        out += piece
    writer.join()
    reader.join()
    status = channel.recv_exit_status()
    client.close()
    finish(status, out, err[0])


def by_asyncssh():
    import asyncssh

    async def run():
        more = {"rekey_bytes": "100K"} if REKEY else {}
        async with asyncssh.connect(
            "127.0.0.1", PORT, username="ann", client_keys=[KEY], known_hosts=None, agent_path=None, config=None, **more
        ) as connection:
            return await connection.run(LINE, input=INPUT, encoding=None)

    done = asyncio.run(run())
    finish(done.exit_status, done.stdout, done.stderr)


def by_libssh2():
    from ssh2.session import Session

    connection = socket.create_connection(("127.0.0.1", PORT))
    session = Session()
    session.handshake(connection)
    session.userauth_publickey_fromfile("ann", KEY)
    channel = session.open_session()
    channel.execute(LINE)
    sent = 0
    while sent < len(INPUT):
        sent += channel.write(INPUT[sent : sent + 16384])[1]
    channel.send_eof()
    out = err = b""
    size, piece = channel.read(65536)
    while size > 0:
        out += piece
        size, piece = channel.read(65536)
    size, piece = channel.read_stderr(65536)
    while size > 0:
        err += piece
        size, piece = channel.read_stderr(65536)
    channel.wait_eof()
    channel.close()
    channel.wait_closed()
    finish(channel.get_exit_status(), out, err)


{"paramiko": by_paramiko, "asyncssh": by_asyncssh, "libssh2": by_libssh2}[LIBRARY]()
