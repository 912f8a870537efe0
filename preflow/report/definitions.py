"""Definitions of every number in a report."""

from preflow.evaluation.names import WITHOUT_ENDING, JudgeRole, name_of
from preflow.report.data import ReportData

# Short explanations of the roles, beside the judges' groups.
GLOSSES: dict[JudgeRole, str] = {
    "label score": "decided which answer of a training pair was preferred",
    "label metric": "one part of the label score",
    "monitor": "only watched, never trained on",
    "reward model": "what PPO maximized",
}

_RATES = {
    "Win rate": "Share of test prompts on which the tuned model's answer scores higher than the base model's by the "
    "same judge. Scores within 0.000001 of each other are a tie and count one half. Prompts where either score is "
    "missing are left out.",
    "95 % interval": "The interval of a win rate or a mean change, by the percentile bootstrap: the prompts are "
    "resampled with replacement 1,000 times, and the middle 95 % of the results is shown. It accounts for the choice "
    "of prompts, not for differences between training runs. If all prompts of a win rate had the same outcome, the "
    "interval instead covers the other outcomes that so few prompts could have missed.",
    "At equal length": "The win rate with the effect of length removed: the outcome (1, ½ or 0) is regressed by "
    "logistic regression on an intercept and tanh(d / s), where d is the tuned answer's length minus the base "
    "answer's in tokens, and s the standard deviation of d; the prediction at d = 0 is shown. Ridge 0.1 on the "
    "slope, 0.01 on the intercept. Method of Length-Controlled AlpacaEval (arXiv:2404.04475). The interval refits "
    "it on the same bootstrap draws.",
    "Better, worse, no clear difference": "Whether the 95 % interval of the win rate, or of a score's mean change, "
    "lies wholly above no difference, wholly below it, or across it. With many judges, one shows a difference by "
    "chance now and then.",
    "Promoted": "Whether all conditions hold. They are about every judged temperature, so that a gain which is only a "
    "lower temperature in disguise does not count.",
    "Leading judge": "Decides the win rate of the headline: the label score, or else the first monitor, if PPO did not "
    "maximize it and no scripted answer beats more than 5 % of reference answers by it.",
    "Base at its best": "The base model at the temperature, of 0, 0.3, 0.5, 0.7 and 1, at which its answers to "
    "validation prompts have the highest mean score by the leading judge.",
    "Scripted answers": "Texts that say nothing, on 100 packaged prompts: the prompt's words shuffled, the prompt with "
    "a filler word after every two, the prompt itself, half of it, one and the same answer, the reference of another "
    "prompt, no answer, and one word again and again. A tie or a missing score counts one half.",
    "Won / tied / lost": "Test prompts on which the tuned model's answer scores higher, equal, or lower.",
}
_ROLES: dict[JudgeRole, str] = {
    "label score": "Decided which of two answers was preferred when training pairs were made from scores.",
    "label metric": "One part of the label score.",
    "monitor": "Only watched: nothing in this run was trained on it.",
    "reward model": "The model whose score PPO maximized. Its score is no independent evidence.",
}
_MEASURES = {
    "label_score": "Weighted mean of the label metrics, with the run's label weights.",
    WITHOUT_ENDING: "The label score with the metric “ended properly” left out, so that "
    "learning to stop is not mistaken for learning to answer.",
    "reward_model": "The reward model's score of prompt and answer, in standard deviations: 0 is as good as a "
    "reference answer.",
    "response_tokens": "Mean number of the model's tokens per answer.",
    "eos_rate": "Share of answers that the model ended itself, before the length limit.",
    "distinct_1": "Distinct words divided by all words, over all answers together. Falls as answers get longer.",
    "distinct_2": "Distinct pairs of neighbouring words divided by all such pairs, over all answers together. "
    "Falls as answers get longer.",
    "rouge_l": "Mean F1 of the longest common subsequence of words with the reference, 0 to 1, over prompts that "
    "have one.",
    "bleu": "Corpus BLEU by sacreBLEU with its default settings, 0 to 100, over prompts that have a reference.",
    "kl": "Mean over up to 64 test prompts, each with one answer of up to the training length that the tuned model "
    "sampled at the temperature of training: the KL divergence of the two next-token distributions at that "
    "temperature, summed over the answer's tokens.",
}
_REWARD = {
    "Reward model accuracy": "Share of held-out pairs in which it scores the preferred answer higher. The whisker "
    "is its 95 % interval.",
    "Longer answer": "Accuracy on the same pairs of always choosing the longer answer.",
    "Similarity to the prompt": "Accuracy on the same pairs of choosing the answer whose embedding is closer to the "
    "prompt's.",
    "Zero point": "Subtracted from the reward model's raw score, so that reference answers score 0 on average. The "
    "difference is divided by the standard deviation of the raw scores of held-out answers.",
}
_CURVES = {
    "Curves over training": "Means over the episodes of each update, on train prompts with sampled answers. They "
    "need not agree with the tables, which are about test prompts.",
    "Entropy": "Mean entropy of the next-token distribution on the answers' tokens. Near zero, all answers are alike.",
    "Approximate KL per update": "How far an update moved the policy away from the one that sampled the answers.",
    "Clipped ratios": "Share of tokens whose probability ratio left PPO's clip range.",
    "Explained variance": "1 − Var(returns − values) / Var(returns). 1 is a perfect value function; 0 is no better "
    "than the mean.",
}


def all_definitions(data: ReportData) -> list[tuple[str, str]]:
    """Terms and their meanings, for the judges and measures this report shows."""
    roles = {f"Judge, {role}": text for role, text in _ROLES.items() if role in data.judge_roles.values()}
    meanings = {**_MEASURES, **data.summary["run"]["definitions"]}
    shown = {*data.judges, *data.base, *data.tuned, "kl"}
    keys = [key for key in dict.fromkeys([*data.judges, *meanings]) if key in shown and key in meanings]
    measures = {name_of(key): _sentence(meanings[key]) for key in keys}
    reward = _REWARD if data.summary["run"]["reward_model"] else {}
    curves = _CURVES if data.training_log else {}
    return [pair for part in (_RATES, roles, measures, reward, curves) for pair in part.items()]


def _sentence(text: str) -> str:
    """A one-line description as a sentence: a capital in front, a full stop behind."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
