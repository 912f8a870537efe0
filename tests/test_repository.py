"""What holds for the repository as a whole."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("preflow", "components", "pipelines", "launch")
_LARGEST_FILE_BYTES = 300_000
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is tracked, or would be if all were added."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={_ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [_ROOT / name for name in listed.stdout.split("\0") if name and (_ROOT / name).is_file()]


def test_submitting_loads_no_training_library_and_no_web_framework() -> None:
    heavy = ["torch", "transformers", "trl", "sentence_transformers", "fastapi"]
    program = f"import sys, launch.cli, launch.local.run; print(*(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_file_is_large(files: list[Path]) -> None:
    assert [str(path) for path in files if path.stat().st_size > _LARGEST_FILE_BYTES] == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on(files: list[Path]) -> None:
    machine = re.compile(rf"{re.escape(str(_ROOT))}\b|(?<![\w.}}-])/(?:home|Users)/\w+/".encode())
    assert [str(path) for path in files if machine.search(path.read_bytes())] == []


def test_every_folder_of_code_is_a_package(files: list[Path]) -> None:
    folders = {path.parent for path in files if path.suffix == ".py" and path.relative_to(_ROOT).parts[0] in _PACKAGES}
    assert {folder.relative_to(_ROOT).parts[0] for folder in folders} == set(_PACKAGES)
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_locks_name_no_place_that_packages_come_from() -> None:
    assert [path.name for path in sorted((_ROOT / "requirements").iterdir()) if "/" in path.read_text()] == []


def test_the_locks_hold_a_fitting_version_of_every_requirement() -> None:
    pins = dict(_PIN.findall((_ROOT / "requirements/packages.lock").read_text()))
    pins |= dict(_PIN.findall((_ROOT / "requirements/torch.txt").read_text()))
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    requirements = [Requirement(line) for line in lines]
    missing = [
        str(need) for need in requirements if need.name not in pins or not need.specifier.contains(pins[need.name])
    ]
    assert missing == [], "run `make lock`"


def test_all_locks_pin_the_same_versions() -> None:
    build, packages, image = (
        _PIN.findall((_ROOT / f"requirements/{name}.lock").read_text()) for name in ("build", "packages", "image")
    )
    assert "setuptools" in dict(build)
    assert set(build) | set(image) <= set(packages)


def test_the_image_has_what_steps_need_and_no_tools_of_development() -> None:
    image = dict(_PIN.findall((_ROOT / "requirements/image.lock").read_text()))
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {Requirement(line).name for line in extras["train"]} - set(image) == {"torch"}
    assert set(image) & {Requirement(line).name for line in [*extras["dev"], *extras["local"]]} == set()
