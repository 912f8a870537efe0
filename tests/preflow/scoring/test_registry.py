"""A metric has one role in a run, and texts are encoded once."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from preflow.errors import PreflowError
from preflow.scoring import registry
from preflow.scoring.label import label_score, scorer_digest
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS, check, check_names, check_roles, encoding, remembering, score_texts

KNOWN = [
    "relevance", "ended_properly", "fluency", "repetition", "length_fit", "own_words", "word_order", "coherence",
    "reference_similarity",
]  # fmt: skip


def test_a_metric_has_the_name_of_its_module() -> None:
    assert list(METRICS) == KNOWN
    assert [metric.score.__module__.rpartition(".")[2] for metric in METRICS.values()] == KNOWN


def test_separate_roles_are_accepted() -> None:
    check_roles({"relevance": 2.0, "length_fit": 0.5}, ["coherence"])
    check_roles({"relevance": 1.0}, [])
    check_roles({}, ["coherence"])
    check({"label_weights": {"relevance": 2.0}, "monitors": ["coherence"], "other": None})


@pytest.mark.parametrize(
    ("weights", "monitors", "expected"),
    [
        ({"relevance": 1.0}, ["relevance"], "`monitors`: 'relevance' is in `label_weights` too"),
        ({"relevanse": 1.0}, [], "metric 'relevanse' is not known; choose from relevance, ended_properly"),
        ({"relevance": 1.0}, ["rouge"], "metric 'rouge' is not known"),
        ({}, ["relevance"], "no metric is named"),
        ({"relevance": 0.0}, [], "the weight of 'relevance' is 0.0"),
        ({"relevance": 1.0, "repetition": -1.0}, [], "the weight of 'repetition' is -1.0"),
        ({"coherence": 1.0}, [], "'coherence' has no value for some answers; it can only be a monitor"),
        ({"relevance": float("nan")}, [], "the weight of 'relevance' is nan"),
        ({"relevance": float("inf")}, [], "the weight of 'relevance' is inf"),
        ({"relevance": True}, [], "the weight of 'relevance' is True"),
        ({"relevance": "a"}, [], "the weight of 'relevance' is 'a'"),
        ({"relevance": 1.0}, [["a"]], r"metric '\['a'\]' is not known"),
    ],
)
def test_dishonest_or_senseless_roles_are_refused(weights: dict[str, Any], monitors: list[Any], expected: str) -> None:
    with pytest.raises(PreflowError, match=expected):
        check({"label_weights": weights, "monitors": monitors})


def test_the_label_score_is_the_weighted_mean_of_label_metrics_alone() -> None:
    scores = {"relevance": 0.8, "ended_properly": 1.0, "coherence": 0.0, "repetition": None}
    assert label_score(scores, {"relevance": 2.0, "ended_properly": 0.5}) == pytest.approx(2.1 / 2.5)


def test_the_order_of_weights_changes_no_bit_of_the_label_score() -> None:
    weights = {"relevance": 1.25, "ended_properly": 0.4, "repetition": 0.4, "length_fit": 0.2}
    generator = np.random.default_rng(0)
    for values in generator.random((200, 4)):
        scores = dict(zip(weights, values.tolist(), strict=True))
        found = {label_score(scores, dict(order)) for order in itertools.permutations(weights.items())}
        assert len(found) == 1


def test_the_scorers_digest_sees_metrics_weights_and_encoder() -> None:
    digests = [
        scorer_digest({"relevance": 1.0}, ["coherence"], "e"),
        scorer_digest({"relevance": 2.0}, ["coherence"], "e"),
        scorer_digest({"relevance": 1.0}, [], "e"),
        scorer_digest({"relevance": 1.0}, ["coherence"], "f"),
    ]
    assert len(set(digests)) == 4


def test_only_the_named_metrics_are_scored(embed: Embed) -> None:
    texts = [ScoredText("to the east", "east winds", True), ScoredText("to the east", "north", False)]
    scores = score_texts(texts, ["relevance", "ended_properly"], embed)
    assert {name: [one.value for one in found] for name, found in scores.items()} == {
        "relevance": [pytest.approx(np.tanh(1 / 0.4)), 0.0],
        "ended_properly": [1.0, 0.0],
    }


def test_metrics_of_one_call_share_the_vectors_of_a_text(embed: Embed) -> None:
    seen: list[str] = []

    def counting(texts: Sequence[str]) -> NDArray[np.float32]:
        seen.extend(texts)
        return embed(texts)

    text = ScoredText("to the east", "Go northeast. Go north.", True, "Go north.")
    score_texts([text, text], ["relevance", "coherence", "reference_similarity"], counting)
    assert sorted(seen) == sorted({"to the east", text.response, "Go northeast.", "Go north."})


class Encoder:
    """Encodes a text as its length, and notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def encode(self, texts: list[str], **settings: Any) -> Any:
        assert settings["normalize_embeddings"]
        self.seen.append(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float64)


def test_a_text_is_encoded_once_and_the_longest_first() -> None:
    encoder = Encoder()
    embed = remembering(encoder)
    vectors = embed(["a", "ccc", "a", "bb"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1], [3], [1], [2]]
    assert embed(["bb", "dddd"]).tolist() == [[2], [4]]
    assert encoder.seen == [["ccc", "bb", "a"], ["dddd"]]


def test_only_the_newest_texts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REMEMBERED", 2)
    encoder = Encoder()
    embed = remembering(encoder)
    assert embed(["a", "bb", "ccc"]).tolist() == [[1], [2], [3]], "all of one call, however many"
    embed(["bb", "ccc"])
    embed(["a"])
    assert encoder.seen == [["ccc", "bb", "a"], ["a"]]


def test_without_a_memory_a_call_does_not_depend_on_those_before() -> None:
    encoder = Encoder()
    embed = encoding(encoder)
    for _ in range(2):
        assert embed(["a", "ccc", "a"]).tolist() == [[1], [3], [1]]
    assert encoder.seen == [["ccc", "a"]] * 2


def test_an_unknown_metric_is_named_with_those_there_are() -> None:
    check_names(KNOWN)
    with pytest.raises(PreflowError, match="metric 'charm' is not known; choose from relevance, "):
        check_names(["relevance", "charm"])
