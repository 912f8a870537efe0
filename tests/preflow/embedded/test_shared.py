"""The embedded server as it is used: by several processes, some of which die."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from preflow.embedded import cluster, embedded_postgres
from preflow.embedded.server import find_server
from tests.preflow.embedded.conftest import answers

REPOSITORY = Path(__file__).parents[3]
LAUNCHER = """
import sys, pathlib
from preflow.embedded import embedded_postgres
with embedded_postgres(pathlib.Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def launch(home: Path, *prefix: str) -> subprocess.Popen[str]:
    """Starts a process that uses the server of a home until its input ends."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*prefix, sys.executable, "-c", LAUNCHER, str(home)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate("", timeout=60)
    assert process.returncode == 0, errors


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def data_of(home: Path) -> Path:
    return (home / "postgres" / "data").resolve()


def test_gives_a_working_dsn_and_stops_at_the_end(home: Path) -> None:
    with embedded_postgres(home) as url:
        assert re.fullmatch(r"postgresql://preflow:[\w-]{20,}@127\.0\.0\.1:\d+/preflow", url)
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW listen_addresses")
            assert cursor.fetchone() == ("127.0.0.1",)
            cursor.execute("SHOW unix_socket_directories")
            assert cursor.fetchone() == ("",)
            cursor.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'preflow'")
            assert cursor.fetchone() == ("UTF8",)
            cursor.execute("CREATE TABLE kept (x int)")
        connection.close()
        wrong = re.sub(r":[\w-]+@", ":wrong@", url)
        assert not answers(wrong)
    assert not answers(url)
    assert find_server(data_of(home)) is None
    with embedded_postgres(home) as url:
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kept")
        connection.close()


def test_password_and_folder_are_closed_to_others(home: Path) -> None:
    mask = os.umask(0)
    try:
        with embedded_postgres(home):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "postgres" / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "postgres" / "password").stat().st_mode) == 0o600


def test_two_that_start_at_once_share_one_server_and_the_last_stops_it(home: Path) -> None:
    first, second = launch(home), launch(home)
    url = url_of(first)
    assert url_of(second) == url
    finish(first)
    assert answers(url)
    finish(second)
    assert not answers(url)


def test_threads_of_one_process_share_it_too(home: Path) -> None:
    urls: list[str] = []
    both = threading.Barrier(2)

    def use() -> None:
        with embedded_postgres(home) as url:
            urls.append(url)
            both.wait(60)
            assert answers(url)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 2 and len(set(urls)) == 1
    assert not answers(urls[0])


def test_server_of_a_killed_owner_is_used_again_and_then_stopped(home: Path) -> None:
    owner = launch(home)
    url = url_of(owner)
    running = find_server(data_of(home))
    owner.kill()
    owner.communicate()
    assert answers(url)
    with embedded_postgres(home) as again:
        assert again == url
        assert find_server(data_of(home)) == running
    assert not answers(url)


def test_killed_server_is_no_obstacle_even_while_its_owner_lives(home: Path) -> None:
    owner = launch(home)
    old = url_of(owner)
    running = find_server(data_of(home))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_for(lambda: find_server(data_of(home)) is None)
    assert (data_of(home) / "postmaster.pid").exists()
    with embedded_postgres(home) as url:
        assert answers(url)
        assert not answers(old)
        finish(owner)
        assert answers(url)  # the owner was not the last
    assert not answers(url)


def test_server_survives_ctrl_c_and_holds_no_lock(home: Path) -> None:
    with embedded_postgres(home):
        running = find_server(data_of(home))
        assert running is not None
        assert os.getsid(running.pid) != os.getsid(0)
        try:
            held = [os.readlink(path) for path in Path(f"/proc/{running.pid}/fd").iterdir()]
        except PermissionError:
            pytest.skip("this system does not show the files of another user's process")
        assert not [path for path in held if path.endswith(".lock")]


def test_ctrl_c_in_the_body_stops_the_server(home: Path) -> None:
    with pytest.raises(KeyboardInterrupt), embedded_postgres(home) as url:
        raise KeyboardInterrupt
    assert not answers(url)


@contextmanager
def modes_kept(*folders: Path) -> Iterator[None]:
    before = [(folder.stat().st_mode, folder.stat().st_uid, folder.stat().st_gid) for folder in folders]
    yield
    assert [(folder.stat().st_mode, folder.stat().st_uid, folder.stat().st_gid) for folder in folders] == before


@AS_ROOT
def test_root_under_a_closed_folder_changes_no_permissions(home: Path) -> None:
    home.mkdir(mode=0o700)
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700 and home.parent.stat().st_uid == 0
    with modes_kept(home, *home.parents), embedded_postgres(home) as url:
        assert answers(url)
        running = find_server(data_of(home))
        assert running is not None
        assert Path(f"/proc/{running.pid}").stat().st_uid != 0
    assert (home / "postgres").stat().st_uid == 0
    assert (home / "postgres" / "data").stat().st_uid != 0


@AS_ROOT
def test_ordinary_user(home: Path) -> None:
    # The capability is only there to reach an interpreter and a home that may stand below folders closed to others.
    user = ["setpriv", "--reuid=65534", "--regid=65534", *cluster._CAPABILITY]
    if subprocess.run([*user, "true"], check=False).returncode:
        pytest.skip("this system refuses to hand a capability to another user")
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    process = launch(home, *user)
    url = url_of(process)
    assert answers(url)
    running = find_server(data_of(home))
    assert running is not None and Path(f"/proc/{running.pid}").stat().st_uid == 65534
    assert {path.stat().st_uid for path in (home / "postgres").iterdir()} == {65534}
    with embedded_postgres(home) as shared:  # root joins the user's server
        assert shared == url
    assert answers(url)
    finish(process)
    assert not answers(url)
    with embedded_postgres(home) as url:  # and starts it as its owner
        running = find_server(data_of(home))
        assert running is not None and Path(f"/proc/{running.pid}").stat().st_uid == 65534
