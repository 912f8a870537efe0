"""The containers of running steps: what they may do, what they see, and how they end.

A step runs under the restrictions of a cluster's strictest policy: no capabilities, no new privileges, a user id that
the image does not know, and a root file system that is read-only but for a work folder in memory.
"""

import contextlib
import os
import random
import stat
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from preflow.errors import PreflowError
from preflow.packaged import PACKAGED_MODELS, model_package

_LIBRARY = "/opt/preflow"  # in the image, where Python finds modules
_RUN, _STEP = "preflow.run", "preflow.step"
_NAMELESS = range(100_000, 200_000)  # ids of users that no image knows


class Mount(NamedTuple):
    """A file or folder of this machine, where steps see it, and whether they may write there."""

    source: Path
    target: str
    writable: bool


@dataclass(frozen=True)
class Containers:
    """How the steps of a run become containers.

    Attributes:
        run: The run's name, with which its containers are labelled.
        image: Id of the image, `sha256:...`.
        user: Whom the steps run as, `uid:gid`.
        mounts: What they see of this machine.
    """

    run: str
    image: str
    user: str
    mounts: Sequence[Mount]

    def command(self, step: str, arguments: Sequence[str], variables: Iterable[str]) -> list[str]:
        """The command that runs a step's container to its end, passes on its output, and ends with its exit status.

        Args:
            step: The step's key.
            arguments: Program and arguments inside.
            variables: Names of variables that the container takes from the environment of the command: their values,
                among which may be a password, do not stand on the command line.
        """
        program, *rest = arguments
        return [
            *("docker", "run", "--rm", "--init", "--network=host", f"--user={self.user}"),
            *("--read-only", "--tmpfs=/work:rw,exec,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *(f"--label={_RUN}={self.run}", f"--label={_STEP}={step}"),
            *(f"--env={name}" for name in variables),
            *(f"--volume={source}:{target}:{'rw' if write else 'ro'}" for source, target, write in self.mounts),
            *(f"--entrypoint={program}", self.image, *rest),
        ]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The living processes of the run's containers, by step."""
        import docker

        found: dict[str, list[psutil.Process]] = {}
        # Asked five times a second: the command `docker` would take a tenth of a core for that.
        with contextlib.closing(docker.from_env()) as client:
            for container in client.containers.list(filters={"label": f"{_RUN}={self.run}"}, ignore_removed=True):
                with contextlib.suppress(psutil.Error):  # it has just ended, or is about to begin
                    process = psutil.Process(container.attrs["State"]["Pid"])
                    found[container.labels[_STEP]] = [process, *process.children(recursive=True)]
        return found

    def end(self) -> None:
        """Ends the containers that are still running."""
        if ids := self._ids():
            _docker("kill", *ids)

    def _ids(self) -> list[str]:
        return _docker("ps", "--quiet", f"--filter=label={_RUN}={self.run}")


def image_id(image: str) -> str:
    """The id, `sha256:...`, of an image that this machine has or can pull.

    Raises:
        PreflowError: No container engine answers, or there is no such image.
    """
    try:
        _checked("info")
    except FileNotFoundError:
        raise PreflowError("--image: the command `docker` was not found; install a container engine") from None
    except subprocess.CalledProcessError as error:
        raise PreflowError(f"--image: no container engine answers ({_message(error)}); start it") from None
    try:
        return _checked("image", "inspect", "--format={{.Id}}", image)
    except subprocess.CalledProcessError:
        pass
    try:
        _checked("pull", "--quiet", image)
        return _checked("image", "inspect", "--format={{.Id}}", image)
    except subprocess.CalledProcessError as error:
        raise PreflowError(
            f"--image: {image} is not here and cannot be pulled ({_message(error)}); `make image` builds preflow-train"
        ) from None


def check_readable(inputs: Iterable[str]) -> None:
    """Checks that steps can read files and folders that the parameters name, which is in doubt where root runs them.

    Raises:
        PreflowError: They cannot.
    """
    for given in inputs if os.getuid() == 0 else ():
        for path in (Path(given), *Path(given).rglob("*")):
            if not path.stat().st_mode & stat.S_IROTH:
                raise PreflowError(
                    f"{path}: steps run in containers as a user that may not read it; `chmod -R a+rX {given}` lets them"
                )


def prepare_containers(run: Path, home: Path, image: str, inputs: Iterable[str]) -> Containers:
    """How the steps of a run become containers: they see their home and what they are given under the same paths.

    Args:
        run: The run's folder.
        home: PREFLOW_HOME.
        image: Id of the image.
        inputs: Files and folders of this machine that the run's parameters name.
    """
    written = [home / "pipeline_root", home / "checkpoints", home / "models", run / "tensorboard"]
    for folder in written:
        folder.mkdir(parents=True, exist_ok=True)
    packages = {package: model_package(package) for package, _ in PACKAGED_MODELS.values()}
    mounts = [
        *(Mount(folder, str(folder), True) for folder in written),
        *(Mount(folder, f"{_LIBRARY}/{package}", False) for package, folder in packages.items() if folder),
        *(Mount(Path(path), path, False) for path in inputs),
    ]
    return Containers(run.name, image, _step_user(written), mounts)


def _step_user(folders: Sequence[Path]) -> str:
    """Whom steps run as, so that they can read and write folders of ours: this user.

    Root hands the folders to a user without a name, with what earlier runs left in them.
    """
    if os.getuid():
        return f"{os.getuid()}:{os.getgid()}"
    owners = {folder.stat().st_uid for folder in folders} - {0}
    user = min(owners, default=0) or random.choice(_NAMELESS)  # noqa: S311
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    return f"{user}:{user}"


def _docker(*arguments: str) -> list[str]:
    """The lines that a docker command prints; those of containers that have just ended are missing."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def _checked(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _message(error: subprocess.CalledProcessError) -> str:
    return (str(error.stderr).strip().splitlines() or ["no message"])[-1]
