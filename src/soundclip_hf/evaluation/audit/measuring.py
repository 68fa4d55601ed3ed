"""Puts trials to a subject, and measures what the sound changes: one row per trial, as JSON."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from .divergence import divergence, overlap
from .subject import AuditSubject, Channel, Response
from .trials import CONDITIONS, Condition, Trial


def measure(subject: AuditSubject, trials: Sequence[Trial], max_new_tokens: int) -> list[dict[str, Any]]:
    """
    One batch.

    Returns:
        For each trial `id`, `group`, `swapped_with`, `answer` (with the true sound) and, by channel and condition, the
        [`Divergence`] from the true sound along that answer. In the channel "total" also the condition's own `answer`,
        whether it is `flipped`, and `kept_overlap`. `sound_in_inputs` says whether any tensor of floats that goes to
        the model differs between true and swapped sounds. A condition that cannot tell anything is None.
    """
    inputs = subject.inputs([trial.true for trial in trials])
    true = subject.generate(inputs, max_new_tokens)
    answers = [response.tokens for response in true]
    texts = [subject.decode(answer) for answer in answers]
    channels: list[dict[str, Any]] = [{channel: {} for channel in subject.channels} for _ in trials]
    sound_in_inputs = True
    for condition in CONDITIONS:
        others = _inputs(subject, trials, condition)
        if condition == "swapped":
            sound_in_inputs = _differ(inputs, others)
        forced = subject.logits(others, answers)
        own = [subject.decode(response.tokens) for response in subject.generate(others, max_new_tokens)]
        for index, trial in enumerate(trials):
            channels[index]["total"][condition] = (
                None
                if trial.says_nothing(condition)
                else _compared(true[index], forced[index])
                | {"answer": own[index], "flipped": own[index] != texts[index]}
            )
    if "token" in subject.channels:
        alone = subject.logits(subject.inputs([trial.true for trial in trials], "token"), answers)
        _measure_channel(subject, "token", trials, alone, channels)
    if "patches" in subject.channels:
        # Only a picture has patches that a sound could choose.
        seen = [index for index, trial in enumerate(trials) if trial.pictures]
        if seen:
            _measure_channel(
                subject, "patches", [trials[i] for i in seen], [true[i] for i in seen], [channels[i] for i in seen]
            )
    return [
        {
            "id": trial.id,
            "group": trial.group,
            "swapped_with": trial.swapped_with,
            "answer": texts[index],
            "sound_in_inputs": sound_in_inputs,
            "channels": channels[index],
        }
        for index, trial in enumerate(trials)
    ]


def _measure_channel(
    subject: AuditSubject,
    channel: Channel,
    trials: Sequence[Trial],
    true: Sequence[Response],
    channels: Sequence[dict[str, Any]],
) -> None:
    answers = [response.tokens for response in true]
    for condition in CONDITIONS[:2]:  # without any sound there is neither its token nor a choice
        others = _inputs(subject, trials, condition, channel)
        for index, forced in enumerate(subject.logits(others, answers)):
            pointless = trials[index].says_nothing(condition)
            channels[index][channel][condition] = None if pointless else _compared(true[index], forced)


def _inputs(
    subject: AuditSubject, trials: Sequence[Trial], condition: Condition, channel: Channel = "total"
) -> Mapping[str, Any]:
    with warnings.catch_warnings():
        if condition == "silent":  # which processors rightly warn of
            warnings.simplefilter("ignore", UserWarning)
        return subject.inputs([trial.prompt(condition) for trial in trials], channel, [trial.true for trial in trials])


def _compared(true: Response, other: Response) -> dict[str, Any]:
    values: dict[str, Any] = asdict(divergence(true.logits, other.logits))
    if true.kept is not None and other.kept is not None:
        values["kept_overlap"] = overlap(true.kept, other.kept)
    return values


def _differ(inputs: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    for name, value in inputs.items():
        other = others.get(name)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            continue
        if not isinstance(other, torch.Tensor) or value.shape != other.shape or not torch.equal(value, other):
            return True
    return False


__all__ = ["measure"]
