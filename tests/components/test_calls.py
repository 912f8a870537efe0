"""What every component hands to its verb, written down by hand, and every swap of two keywords of one type seen."""

import ast
import copy
import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preflow.verbs import VERBS

_DATABASE = "dsn of value of database"
CALLS: dict[str, dict[str, str]] = {
    "validate_inputs": {
        "prompt_dataset": "value of prompt_dataset",
        "preference_dataset": "value of preference_dataset",
        "eval_dataset": "value of eval_dataset",
        "instruction": "value of instruction",
        "large_model_reference": "value of large_model_reference",
        "reward_model_reference": "value of reward_model_reference",
        "encoder_reference": "value of encoder_reference",
        "prompt_sequence_length": "value of prompt_sequence_length",
        "prompts_out": "path of prompts",
        "eval_prompts_out": "path of eval_prompts",
        "given_feedback_out": "path of given_feedback",
    },
    "log_generations": {
        "prompts": "path of prompts",
        "model": "value of model",
        "database_url": _DATABASE,
        "output": "path of generations",
        "config": "all arguments",
    },
    "auto_score": {
        "generations": "path of generations",
        "prompts": "path of prompts",
        "encoder": "value of encoder",
        "label_weights": "value of label_weights",
        "monitors": "value of monitors",
        "database_url": _DATABASE,
        "output": "path of scored_generations",
    },
    "feedback_snapshot": {
        "database_url": _DATABASE,
        "feedback_watermark": "value of feedback_watermark",
        "instruction": "value of instruction",
        "output": "path of feedback",
    },
    "build_preferences": {
        "scored_generations": "path of scored_generations",
        "feedback": "path of feedback",
        "given_feedback": "path of given_feedback",
        "eval_prompts": "path of eval_prompts",
        "min_score_gap": "value of min_score_gap",
        "output": "path of pairs",
    },
    "train_reward_model": {
        "pairs": "path of pairs",
        "prompts": "path of prompts",
        "base_model": "value of base_model",
        "encoder": "value of encoder",
        "output": "path of reward_model",
        "config": "all arguments",
    },
    "ppo_optimize": {
        "prompts": "path of prompts",
        "model": "value of model",
        "reward_model": "path of reward_model",
        "output": "path of policy",
        "training_log": "path of training_log",
        "reward_weights": "value of reward_weights",
        "encoder": "value of encoder",
        "monitors": "value of monitors",
        "checkpoints": "value of checkpoint_root/value of code_version",
        "logging_dir": "tensorboard",
        "config": "all arguments",
    },
    "base_inference": {
        "prompts": "path of prompts",
        "eval_prompts": "path of eval_prompts",
        "model": "value of model",
        "output": "path of base_answers",
        "config": "all arguments",
    },
    "eval_inference": {
        "base_answers": "path of base_answers",
        "pairs": "path of pairs",
        "base_model": "value of base_model",
        "policy": "path of policy",
        "reward_model": "path of reward_model",
        "encoder": "value of encoder",
        "label_weights": "value of label_weights",
        "monitors": "value of monitors",
        "reward_weights": "value of reward_weights",
        "output": "path of evaluations",
        "config": "all arguments",
    },
    "promote": {
        "evaluations": "path of evaluations",
        "training_log": "path of training_log",
        "verdict_out": "path of verdict",
        "report_out": "path of report",
        "markdown_out": "path of markdown",
        "config": "all arguments",
    },
    "record_run": {
        "database_url": _DATABASE,
        "run_id": "value of run_id",
        "pipeline": "value of pipeline",
        "parameters": "value of parameters",
        "evaluations": "path of evaluations",
        "report_uri": "uri of report",
        "policy_uri": "uri of policy",
        "verdict": "path of verdict",
        "feedback_watermark": "value of feedback_watermark",
        "scored_generations": "path of scored_generations",
    },
}
_CONFIGS = {
    "log_generations": ("preflow.generation.config", "GenerationConfig"),
    "train_reward_model": ("preflow.reward.config", "RewardModelConfig"),
    "ppo_optimize": ("preflow.ppo", "PPOConfig"),
    "eval_inference": ("preflow.evaluation.config", "EvaluationConfig"),
    "base_inference": ("preflow.evaluation.base_config", "BaseInferenceConfig"),
    "promote": ("preflow.evaluation.verdict", "PromotionConfig"),
}
_ROC: dict[str, list[float]] = {"fpr": [], "tpr": [], "threshold": []}
_SUMMARY = {"win_rate_low": 0.5, "kl": 1.0, "roc": _ROC, "confusion": [[1, 2], [3, 4]]}

Call = Callable[[str, ast.FunctionDef], dict[str, str]]


@pytest.fixture
def call(library: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a component's function, by its source, and gives what reached the verb."""
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", "tensorboard")

    def call(verb: str, source: ast.FunctionDef) -> dict[str, str]:
        seen: dict[str, Any] = {}
        doubles = {verb: lambda **given: seen.update(given) or copy.deepcopy(_SUMMARY)}
        module, config = _CONFIGS.get(verb, ("", ""))
        called = _module_of(source, verb)
        settings = SimpleNamespace(of=lambda given: given)
        library(called, **doubles, **({config: settings} if module == called else {}))
        if module not in ("", called):
            library(module, **{config: settings})
        library("preflow.store", database_url=lambda reference: f"dsn of {reference}")
        library("preflow.runtime", prepare_process=lambda **_: None)
        component = importlib.import_module(f"components.{verb}")
        namespace = dict(vars(component))
        exec(compile(ast.Module([source], []), component.__file__ or "", "exec"), namespace)
        function = namespace[verb]
        given = {name: _argument(name, hint) for name, hint in function.__annotations__.items() if name != "return"}
        function(**given)
        if verb in _CONFIGS:
            config_given = seen["config"]
            assert {name: config_given[name] for name in given} == given
            seen["config"] = "all arguments"
        return {name: str(value) for name, value in seen.items()}

    return call


def _argument(name: str, hint: Any) -> Any:
    if "artifact" not in repr(hint).lower() and not hasattr(hint, "__metadata__"):
        return f"value of {name}"
    log = dict.fromkeys(("log_roc_curve", "log_confusion_matrix"), lambda *_: None)
    return SimpleNamespace(path=f"path of {name}", uri=f"uri of {name}", metadata={}, **log)


def _function(verb: str) -> ast.FunctionDef:
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(f"components.{verb}"))).read_text())
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    function.decorator_list = []
    return function


def _module_of(function: ast.FunctionDef, verb: str) -> str:
    """The module that a component imports its verb from."""
    [found] = [
        node.module or ""
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and verb in [alias.name for alias in node.names]
    ]
    return found


def _call_of(function: ast.FunctionDef, verb: str) -> ast.Call:
    """The one call of the verb in a component."""
    [found] = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == verb
    ]
    return found


def _kind(verb: str, value: str) -> str:
    """The type of what a keyword gets: a path, a URI, or the declared type of the component's input."""
    form, _, name = value.partition(" of ")
    hints = importlib.import_module(f"components.{verb}").__dict__[verb].python_func.__annotations__
    return str(hints.get(name, form)) if form == "value" else form


def _swaps(verb: str) -> Iterator[tuple[str, str]]:
    for first, second in itertools.combinations(CALLS[verb], 2):
        if _kind(verb, CALLS[verb][first]) == _kind(verb, CALLS[verb][second]):
            yield first, second


@pytest.mark.parametrize("verb", VERBS)
def test_the_verb_gets_what_the_table_says(call: Call, verb: str) -> None:
    assert call(verb, _function(verb)) == CALLS[verb]


@pytest.mark.parametrize(("verb", "first", "second"), [(verb, *pair) for verb in VERBS for pair in _swaps(verb)])
def test_a_swap_of_two_keywords_of_one_type_differs_from_the_table(
    call: Call, verb: str, first: str, second: str
) -> None:
    function = _function(verb)
    keywords = {keyword.arg: keyword for keyword in _call_of(function, verb).keywords}
    keywords[first].value, keywords[second].value = keywords[second].value, keywords[first].value
    assert call(verb, ast.fix_missing_locations(function)) != CALLS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_the_call_fits_the_signature_of_the_real_verb(verb: str) -> None:
    function = getattr(importlib.import_module(VERBS[verb].module), verb)
    inspect.signature(function).bind(**dict.fromkeys(CALLS[verb]))
    assert getattr(importlib.import_module(_module_of(_function(verb), verb)), verb) is function
