"""The process of an embedded database: find it, start it, stop it. Callers hold the start lock of shared.py."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from preflow.embedded.cluster import DATABASE, ENVIRONMENT, USER, account_prefix, advice, program, read_password
from preflow.errors import PreflowError

_START_SECONDS = 120.0  # recovery after a crash takes time
_RETRY_SECONDS = 15.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
# The port was taken after we chose it, or processes of a killed server have not noticed its death yet.
_TRANSIENT = ("Address already in use", "pre-existing shared memory block")


@dataclass(frozen=True)
class Server:
    """A running server, as its postmaster.pid describes it. `port` is 0 until it is known."""

    pid: int
    port: int
    ready: bool


def server_url(folder: Path, others: bool) -> str:
    """Returns the DSN of the server of this folder, which is started unless it runs.

    Args:
        folder: The folder of the embedded database, with a cluster in it.
        others: Whether other processes use the database now.

    Raises:
        PreflowError: It does not start, does not answer, or runs in another container.
    """
    data = folder / "data"
    server = find_server(data)
    if server is None:
        _refuse_other_machine(folder, others)
        server = _start(folder)
    elif not server.ready:
        server = _wait_ready(data, server.pid)
        if server is None:
            server = _start(folder)
    _create_database(folder, server)
    return _url(folder, server.port, DATABASE)


def find_server(data: Path) -> Server | None:
    """Finds the running server of a data folder; a postmaster.pid that a dead server left behind does not count."""
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
    """Stops the server of this folder if it runs: ends its connections and waits until everything is on disk.

    Raises:
        PreflowError: It does not stop in time.
    """
    data = folder / "data"
    server = find_server(data)
    if server is None:
        return
    os.kill(server.pid, signal.SIGINT)  # what postgres calls a fast shutdown
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
        if not any(reason in log for reason in _TRANSIENT) or time.monotonic() > give_up:
            raise PreflowError(f"{folder}: the database server does not start: {_last_line(log)}; {advice(folder)}")
        time.sleep(0.2)


def _spawn(folder: Path, postgres: list[str], port: int) -> int:
    """Starts the server in a session of its own, so that Ctrl-C in this terminal does not reach it."""
    log = folder / "server.log"
    if log.exists():
        log.replace(folder / "server.log.previous")
    (folder / "server.place").write_text(_machine(), encoding="utf-8")
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "logging_collector=off"]
    command = [*postgres, "-D", str(folder / "data"), "-p", str(port), *settings]
    with log.open("wb") as output:
        # The shell puts the server into the background and exits: init adopts it, so it never becomes our zombie.
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
    """Waits until the server with this pid is ready; None if it died before."""

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
    """Creates our database if it is missing. Connecting also proves that the server is ours: it knows our password."""
    try:
        connection = psycopg2.connect(_url(folder, server.port, "postgres"), connect_timeout=10)
    except psycopg2.OperationalError as error:
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
    """Whether a process is a server of this data folder, by its command line, because process ids are reused."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        except OSError:
            return False
    listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return os.fsencode(data) in listed.stdout


def _lives(pid: int) -> bool:
    """Whether a process exists and is no zombie. Its command line cannot tell: it is empty during exec."""
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
    """Removes a postmaster.pid that would keep postgres from starting although no server runs.

    Its process id belongs to another process by now, or the file is empty, as a full disk leaves it. If a server runs
    there after all, the new one finds its shared memory in use and refuses to start.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    pid = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    if not pid.isdigit() or _is_known(int(pid)):  # postgres itself recognises the id of a dead process
        path.unlink()


def _refuse_other_machine(folder: Path, others: bool) -> None:
    """Raises if a server in another container may be using the data: a second server would destroy it."""
    place = folder / "server.place"
    if not others or not (folder / "data" / "postmaster.pid").exists() or not place.exists():
        return
    if place.read_text(encoding="utf-8") != _machine():
        raise PreflowError(
            f"{folder}: in use from another machine or container; end that use, choose another PREFLOW_HOME, "
            "or set DATABASE_URL"
        )


def _machine() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(namespace) if namespace.is_symlink() else ''}"


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _url(folder: Path, port: int, database: str) -> str:
    return f"postgresql://{USER}:{read_password(folder)}@127.0.0.1:{port}/{database}"


def _last_line(log: str) -> str:
    """The line that gives the reason: the last fatal one, or else the last line."""
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
