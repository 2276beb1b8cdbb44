"""Servers that stand between a client and PostgreSQL, or in its place: too old, a pooler, one with TLS.

Each is an asynchronous context manager that listens on 127.0.0.1 and gives its port. They speak as much of the
protocol as a client needs to see what they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fix_postgres import Server

_SSL_REQUEST = 80877103
_Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(session: _Session) -> AsyncIterator[int]:
    """Serve every client with ``session``; the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await session(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _error(sqlstate: str, text: str) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text}
    return _message(b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str]:
    """The client's startup parameters; TLS is declined."""
    while True:
        [length] = struct.unpack("!I", await reader.readexactly(4))
        packet = await reader.readexactly(length - 4)
        if struct.unpack("!I", packet[:4])[0] >> 16 == 3:
            words = packet[4:].decode().rstrip("\0").split("\0")
            return dict(zip(words[::2], words[1::2], strict=True))
        writer.write(b"N")


def _welcome(version: str, pid: int) -> bytes:
    parameters = {"server_version": version, "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    told = b"".join(_message(b"S", f"{key}\0{value}\0".encode()) for key, value in parameters.items())
    return _message(b"R", struct.pack("!I", 0)) + told + _message(b"K", struct.pack("!II", pid, 1)) + _READY


_READY = _message(b"Z", b"I")


def _row(values: Sequence[tuple[int, str]]) -> bytes:
    """A result of one row, of (oid of the type, text)."""
    columns = b"".join(
        f"column{number}\0".encode() + struct.pack("!IhIhih", 0, 0, oid, -1, -1, 0)
        for number, (oid, _) in enumerate(values)
    )
    data = b"".join(struct.pack("!I", len(text)) + text.encode() for _, text in values)
    count = struct.pack("!h", len(values))
    return _message(b"T", count + columns) + _message(b"D", count + data) + _message(b"C", b"SELECT 1\0")


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Somebody who listens and never answers."""
    while await reader.read(4096):
        pass


async def hanging_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Somebody who ends the connection at the first word."""
    await reader.read(4096)


def answering(version: str, *, pid: int, told_pid: int) -> _Session:
    """A server of that version which lets everybody in and knows only the question for its process id."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _startup(reader, writer)
        writer.write(_welcome(version, told_pid))
        while True:
            kind, length = struct.unpack("!cI", await reader.readexactly(5))
            query = (await reader.readexactly(length - 4)).decode().rstrip("\0")
            if kind == b"X":
                return
            if "pg_backend_pid" in query:
                answer = _row([(23, str(pid)), (25, "on")])
            elif query.startswith("SET "):
                answer = _message(b"C", b"SET\0")
            else:
                answer = _error("42601", "syntax error")
            writer.write(answer + _READY)

    return session


def refusing(parameter: str) -> _Session:
    """A pooler as it comes: it lets nobody in who sends this startup parameter."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parameters = await _startup(reader, writer)
        if parameter in parameters:
            writer.write(_error("08P01", f"unsupported startup parameter: {parameter}"))
        else:
            writer.write(_welcome("18.0", pid=4711) + _error("08P01", "server login failed"))
        await writer.drain()

    return session


def in_front_of(server: Server, *, drops: str = "") -> _Session:
    """Everything is passed on to ``server``, save that a client with the startup parameter ``drops`` is let go."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parameters = await _startup(reader, writer)
        if drops in parameters:
            writer.write(_error("08P01", f"unsupported startup parameter: {drops}"))
            await writer.drain()
            return
        body = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items()) + b"\0"
        packet = struct.pack("!II", len(body) + 8, 3 << 16) + body
        await _pass_on(server, reader, writer, packet)

    return session


def with_tls(server: Server, context: ssl.SSLContext) -> _Session:
    """``server`` behind TLS, as a server with ``ssl = on`` would do it."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await reader.readexactly(8)
        if struct.unpack("!II", packet)[1] == _SSL_REQUEST:
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(context)
            packet = b""
        await _pass_on(server, reader, writer, packet)

    return session


async def _pass_on(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", server.port)
    back_writer.write(first)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while block := await source.read(65536):
                sink.write(block)
                await sink.drain()
        sink.close()

    await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))


@dataclass(frozen=True)
class Authority:
    """A certificate authority: ``certificate`` is its file, ``context`` what a server of 127.0.0.1 serves with."""

    certificate: Path
    context: ssl.SSLContext


def authority(folder: Path, host: str = "127.0.0.1") -> Authority:
    """Make an authority and a certificate for ``host``, an address or a name."""
    folder.mkdir()
    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    issuer = f"the authority of {folder.parent.name}"

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        day = dt.timedelta(days=1)
        return made.not_valid_before(now - day).not_valid_after(now + day)

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    root = builder(issuer, root_key).add_extension(constraints, critical=True)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    names = x509.SubjectAlternativeName([alternative])
    leaf = builder(host, key).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "root.crt").write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.crt").write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return Authority(folder / "root.crt", context)
