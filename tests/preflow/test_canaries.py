import pytest

from preflow.canaries import CANARIES

PROMPTS = ["Why is the sky blue?", "Name three rivers in Europe.", "How do I boil an egg?"]
REFERENCES = ["Air scatters blue light most.", "The Danube, the Rhine and the Elbe.", "Ten minutes in hot water."]


def answers(name: str) -> list[str]:
    return CANARIES[name](PROMPTS, REFERENCES)


@pytest.mark.parametrize("name", CANARIES)
def test_every_prompt_gets_an_answer_and_the_same_one_each_time(name):
    assert len(answers(name)) == len(PROMPTS)
    assert answers(name) == answers(name)


def test_shuffled_prompts_hold_the_words_of_their_prompt_often_enough_to_look_like_an_answer():
    shuffled = answers("shuffled_prompt")[0].lower().rstrip(".").replace("?", "").split()
    assert set(shuffled) == set(["why", "is", "the", "sky", "blue"])
    assert len(shuffled) == 20


def test_padded_prompts_have_a_filler_after_every_two_words():
    assert answers("padded_prompt")[0] == "Why is really the sky really blue? really."


def test_an_excerpt_is_half_of_the_prompt_in_one_piece():
    assert all(
        len(excerpt.split()) == 3 and excerpt.lower().rstrip(".") in prompt.lower()
        for excerpt, prompt in zip(answers("excerpt"), PROMPTS, strict=True)
    )


def test_another_prompts_reference_is_never_the_prompts_own():
    assert all(answer != reference for answer, reference in zip(answers("other_reference"), REFERENCES, strict=True))


def test_a_shuffle_does_not_depend_on_the_other_prompts():
    alone = CANARIES["shuffled_prompt"](PROMPTS[1:2], REFERENCES[1:2])
    assert alone == answers("shuffled_prompt")[1:2]


def test_an_empty_prompt_has_scripted_answers_too():
    for name, script in CANARIES.items():
        if name != "repeated_word":
            assert script([""], ["yes"])
