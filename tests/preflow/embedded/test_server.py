"""What the embedded server does with leftovers on disk, and its errors when it cannot start."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from preflow.embedded import cluster, embedded_postgres, server
from preflow.errors import PreflowError
from tests.preflow.embedded.conftest import answers

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def data_of(home: Path) -> Path:
    return (home / "postgres" / "data").resolve()


@pytest.mark.parametrize("content", ["", "nonsense\n"])
def test_broken_pid_file_is_no_obstacle(home: Path, content: str) -> None:
    with embedded_postgres(home):
        pass
    (data_of(home) / "postmaster.pid").write_text(content)
    with embedded_postgres(home) as url:
        assert answers(url)


def test_pid_file_that_names_a_stranger_is_no_obstacle(home: Path) -> None:
    with embedded_postgres(home):
        content = (data_of(home) / "postmaster.pid").read_text()
    # As after a restart of a container: the process id belongs to another process now. This one must survive.
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data_of(home) / "postmaster.pid").write_text(re.sub(r"^\d+", str(stranger.pid), content))
        with embedded_postgres(home) as url:
            assert answers(url)
        assert stranger.poll() is None
        stranger.kill()


def test_half_made_cluster_is_made_anew(home: Path) -> None:
    (home / "postgres" / "data.new" / "base").mkdir(parents=True)
    with embedded_postgres(home) as url:
        assert answers(url)
    assert not (home / "postgres" / "data.new").exists()


def test_taken_port_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_postgres(home) as url:
        taken = int(url.rpartition(":")[2].partition("/")[0])
        ports = iter([taken])
        free_port = server._free_port
        monkeypatch.setattr(server, "_free_port", lambda: next(ports, None) or free_port())
        with embedded_postgres(home.with_name("other")) as second:
            assert answers(second)
            assert second != url


def test_startup_failure_quotes_the_log(home: Path) -> None:
    with embedded_postgres(home):
        pass
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with (
        pytest.raises(PreflowError, match="does not start: .*FATAL: .*postgresql.conf.* contains errors") as caught,
        embedded_postgres(home),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_unusable_homes_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreflowError, match="file.*choose another PREFLOW_HOME"), embedded_postgres(tmp_path / "file"):
        pass
    # No file system can be written under /proc, not even by root.
    with pytest.raises(PreflowError, match="/proc/.*writable"), embedded_postgres(Path("/proc/1")):
        pass


def test_data_without_password_or_of_another_version_is_refused(home: Path) -> None:
    with embedded_postgres(home):
        pass
    (home / "postgres" / "password").rename(home / "kept")
    with pytest.raises(PreflowError, match="password: missing"), embedded_postgres(home):
        pass
    (home / "kept").rename(home / "postgres" / "password")
    (home / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(PreflowError, match="written by PostgreSQL 12"), embedded_postgres(home):
        pass


def test_data_in_use_in_another_container_is_refused(home: Path) -> None:
    with embedded_postgres(home):
        content = (data_of(home) / "postmaster.pid").read_text()
    user = subprocess.Popen(["flock", "--shared", str(home / "postgres" / "users.lock"), "sleep", "60"])
    try:
        (data_of(home) / "postmaster.pid").write_text(re.sub(r"^\d+", "999999999", content))
        (home / "postgres" / "server.place").write_text("elsewhere pid:[1]")
        time.sleep(0.2)
        with pytest.raises(PreflowError, match="another machine or container"), embedded_postgres(home):
            pass
    finally:
        user.kill()
        user.wait()


@AS_ROOT
def test_copy_that_belongs_to_root_is_used(home: Path) -> None:
    with embedded_postgres(home):
        pass
    subprocess.run(["chown", "-R", "0:0", str(home)], check=True)
    with embedded_postgres(home) as url:
        assert answers(url)


@AS_ROOT
def test_root_without_the_capability_gets_an_error_with_a_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CAPABILITY", ("--ambient-caps=+no_such_capability",))
    with pytest.raises(PreflowError, match="as root here.*run as an ordinary user, or set DATABASE_URL"):
        with embedded_postgres(home):
            pass
    monkeypatch.setattr(cluster, "ENVIRONMENT", {"PATH": "/nowhere"})
    with pytest.raises(PreflowError, match="without setpriv"), embedded_postgres(home):
        pass
