"""Preferences and rankings in the forms that other tools read."""

from typing import Any, Literal

from preflow.identity import as_messages, digest_json
from preflow.rows import Feedback, Preference

TrlForm = Literal["explicit", "implicit", "explicit-conversational", "implicit-conversational"]


def to_vertex(preference: Preference) -> dict[str, Any]:
    """Returns a pair in the Vertex RLHF form.

    A digest of the pair decides which candidate is the chosen one, so that the position carries no information.
    """
    choice = int(digest_json([preference.prompt_id, preference.chosen, preference.rejected])[0], 16) % 2
    candidates = [preference.rejected, preference.rejected]
    candidates[choice] = preference.chosen
    answers = {"candidate_0": candidates[0], "candidate_1": candidates[1], "choice": choice}
    if isinstance(preference.prompt, str):
        return {"input_text": preference.prompt, **answers}
    system = [message["content"] for message in preference.prompt if message["role"] == "system"]
    spoken = [message for message in preference.prompt if message["role"] != "system"]
    messages = [{"author": message["role"], "content": message["content"]} for message in spoken]
    return {**({"context": system[0]} if system else {}), "messages": messages, **answers}


def to_trl(preference: Preference, form: TrlForm = "explicit", *, with_margin: bool = False) -> dict[str, Any]:
    """Returns a pair in one of TRL's preference forms.

    `explicit` and `implicit` keep the type of the prompt: a string gives strings, a list of turns gives conversations.
    `-conversational` always gives conversations. Implicit strings join prompt and answer by a blank line. They are the
    only form that loses information: reading them splits at the longest common prefix, so the first words that both
    answers share become part of the prompt.

    Args:
        preference: The pair.
        form: The form to write.
        with_margin: Whether to add `margin`, which TRL's loss subtracts: the score gap, or 0 without one.
    """
    conversational = form.endswith("-conversational") or not isinstance(preference.prompt, str)
    prompt: Any = as_messages(preference.prompt) if conversational else preference.prompt
    pair: dict[str, Any] = {"chosen": preference.chosen, "rejected": preference.rejected}
    if conversational:
        pair = {field: [{"role": "assistant", "content": answer}] for field, answer in pair.items()}
    if form.startswith("explicit"):
        pair = {"prompt": prompt, **pair}
    elif conversational:
        pair = {field: [*prompt, *answer] for field, answer in pair.items()}
    else:
        pair = {field: f"{prompt}\n\n{answer}" for field, answer in pair.items()}
    return {**pair, "margin": preference.score_gap or 0.0} if with_margin else pair


def to_ranking(feedback: Feedback) -> dict[str, Any]:
    """Returns feedback of kind `ranking` in the ranking form, with the ids of responses that have one."""
    named = any(response.generation_id is not None for response in feedback.responses)
    responses = [
        {"id": response.generation_id, "text": response.text} if named else response.text
        for response in feedback.responses
    ]
    return {"prompt": feedback.prompt, "responses": responses, "ranking": feedback.value}
