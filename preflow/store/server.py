"""The process of an embedded database: find it, start it, stop it. Callers hold the start lock of embedded.py."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preflow.errors import PreflowError
from preflow.store.cluster import DATABASE, ENVIRONMENT, USER, account_prefix, advice, program, read_password
from preflow.store.sql import OperationalError, open_connection

_START_SECONDS = 120.0  # recovery after a crash takes its time
_RETRY_SECONDS = 15.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
# The port was taken between our look and the start; processes of a killed server have not noticed its death yet.
_PASSING = ("Address already in use", "pre-existing shared memory block")


@dataclass(frozen=True)
class Server:
    """A running server, as its postmaster.pid tells. `port` is 0 until it is known."""

    pid: int
    port: int
    ready: bool


def server_url(folder: Path, others: bool) -> str:
    """The DSN of the running server of this folder; starts one when none runs.

    Args:
        folder: The folder of the embedded database, with a cluster in it.
        others: Whether other processes use the database right now.

    Raises:
        PreflowError: It does not start, does not answer, or runs in another container.
    """
    data = folder / "data"
    server = find_server(data)
    if server is None:
        _refuse_other_place(folder, others)
        server = _start(folder)
    elif not server.ready:
        server = _wait_ready(data, server.pid)
        if server is None:
            server = _start(folder)
    _create_database(folder, server)
    return _url(folder, server.port, DATABASE)


def find_server(data: Path) -> Server | None:
    """The running server of a data folder. A postmaster.pid that a dead server left behind does not count."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    # Format: pid, data folder, start time, port, socket folder, address, shared memory, status.
    fields = [line.strip() for line in lines] + [""] * 8
    if not fields[0].isdigit() or not _serves(int(fields[0]), data):
        return None
    return Server(pid=int(fields[0]), port=int(fields[3] or 0), ready=fields[7] == "ready")


def stop_server(folder: Path) -> None:
    """Stops the server of this folder, if one runs: ends its connections, and waits until everything is on disk.

    Raises:
        PreflowError: It does not end in time.
    """
    data = folder / "data"
    server = find_server(data)
    if server is None:
        return
    os.kill(server.pid, signal.SIGINT)  # fast shutdown, in the words of postgres
    if not _wait(lambda: not _serves(server.pid, data), _STOP_SECONDS):
        raise PreflowError(
            f"{folder}: the database server (process {server.pid}) has not stopped after {_STOP_SECONDS:.0f} s; "
            "see server.log"
        )


def _start(folder: Path) -> Server:
    data = folder / "data"
    prefix = account_prefix(data)
    give_up = time.monotonic() + _RETRY_SECONDS
    while True:
        _remove_stale_pid(data)
        pid = _spawn(folder, [*prefix, str(program("postgres"))], _free_port())
        server = _wait_ready(data, pid)
        if server is not None:
            return server
        log = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
        if not any(reason in log for reason in _PASSING) or time.monotonic() > give_up:
            raise PreflowError(f"{folder}: the database server does not start: {_last_line(log)}; {advice(folder)}")
        time.sleep(0.2)


def _spawn(folder: Path, postgres: list[str], port: int) -> int:
    """Starts the server on its own: no child of ours, and in a session of its own, which Ctrl-C here does not reach."""
    log = folder / "server.log"
    if log.exists():
        log.replace(folder / "server.log.previous")
    (folder / "server.place").write_text(_place(), encoding="utf-8")
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "logging_collector=off"]
    command = [*postgres, "-D", str(folder / "data"), "-p", str(port), *settings]
    with log.open("wb") as output:
        # The shell puts it into the background and ends, so that it is adopted by init and never a zombie of ours.
        shell = subprocess.run(
            ["sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            close_fds=True,  # our locks must not live on in the server
            check=True,
        )
    return int(shell.stdout)


def _wait_ready(data: Path, pid: int) -> Server | None:
    """Waits until the server with this pid is ready; None when it died on the way."""

    def settled() -> bool:
        server = find_server(data)
        return (server is not None and server.pid == pid and server.ready) or not _lives(pid)

    if not _wait(settled, _START_SECONDS):
        raise PreflowError(
            f"{data.parent}: the database server (process {pid}) is not ready after {_START_SECONDS:.0f} s; "
            "see server.log"
        )
    return find_server(data)


def _create_database(folder: Path, server: Server) -> None:
    """Makes our database where it is missing. Also the proof that this server is ours: it takes our password."""
    try:
        connection = open_connection(_url(folder, server.port, "postgres"), connect_timeout=10)
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0].rpartition(" failed: ")[2]
        raise PreflowError(
            f"{folder}: the database server runs (process {server.pid}) but refuses us: {reason}; see server.log"
        ) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()


def _serves(pid: int, data: Path) -> bool:
    """Whether a process is a server of this data folder, by its command line: numbers of processes are used again."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        except OSError:
            return False
    listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return os.fsencode(data) in listed.stdout


def _lives(pid: int) -> bool:
    """Whether a process is there and no zombie; not by its command line, empty while one program replaces another."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except FileNotFoundError:
        return False if Path("/proc/self/stat").exists() else _is_known(pid)
    except ProcessLookupError:
        return False
    return state not in (b"Z", b"X")


def _is_known(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove_stale_pid(data: Path) -> None:
    """Removes a postmaster.pid that postgres would stumble over, when no server runs.

    That is one whose number belongs to another process by now, and an empty one, which a full disk leaves behind.
    Should a server live on there nevertheless, the new one finds its shared memory in use and refuses to start.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    pid = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    if not pid.isdigit() or _is_known(int(pid)):  # the number of a dead one postgres recognises itself
        path.unlink()


def _refuse_other_place(folder: Path, others: bool) -> None:
    """Refuses to start a second server on data that one in another container may be using: that would destroy it."""
    place = folder / "server.place"
    if not others or not (folder / "data" / "postmaster.pid").exists() or not place.exists():
        return
    if place.read_text(encoding="utf-8") != _place():
        raise PreflowError(
            f"{folder}: in use from another machine or container; end that use, choose another PREFLOW_HOME, "
            "or set DATABASE_URL"
        )


def _place() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(namespace) if namespace.is_symlink() else ''}"


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _url(folder: Path, port: int, database: str) -> str:
    return f"postgresql://{USER}:{read_password(folder)}@127.0.0.1:{port}/{database}"


def _last_line(log: str) -> str:
    """The line that says why: the last fatal one, else the last of all."""
    lines = [line for line in log.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return (fatal or lines or ["it wrote no log"])[-1].strip()


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while not done():
        if time.monotonic() > give_up:
            return False
        time.sleep(_POLL_SECONDS)
    return True
