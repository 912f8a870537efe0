"""The digest of a verb's code changes with the files it runs, and with no others."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from preflow.verbs import VERBS

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def digests(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """The digests of all verbs by a copy of the library, which a test may change."""
    shutil.copytree(_ROOT / "preflow", tmp_path / "preflow", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from preflow.verbs import VERBS; from preflow.code_digest import code_digest\n"
        "for name, verb in VERBS.items(): print(name, code_digest(verb.module))"
    )

    def compute() -> dict[str, str]:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        return dict(line.split() for line in done.stdout.splitlines())

    return compute


@pytest.mark.parametrize(
    ("file", "verbs"),
    [
        ("ppo/algorithm.py", {"ppo_optimize"}),
        ("ppo/config.py", {"ppo_optimize"}),
        (
            "scoring/repetition.py",
            {"auto_score", "train_reward_model", "ppo_optimize", "eval_inference"},
        ),
        ("report/templates/report.html", {"promote"}),
        ("generation/log_generations.py", {"log_generations"}),
        ("promotion.py", {"promote"}),
        ("errors.py", set(VERBS)),
        ("data/prompts.jsonl", {"eval_inference"}),
    ],
)
def test_a_changed_file_changes_the_digests_of_the_verbs_that_run_it(
    digests: Callable[[], dict[str, str]], tmp_path: Path, file: str, verbs: set[str]
) -> None:
    before = digests()
    with (tmp_path / "preflow" / file).open("a") as opened:
        opened.write("\n# a comment\n")
    after = digests()
    assert {name for name in after if after[name] != before[name]} == verbs


def test_a_module_that_is_imported_inside_a_function_counts(
    digests: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "preflow/promotion.py").open("a").write("\n\ndef later():\n    from preflow import chat\n")
    before = digests()
    (tmp_path / "preflow/chat.py").open("a").write("\n# a comment\n")
    assert digests()["promote"] != before["promote"]
