"""Whether each prompt of a batch is answered with its own sound: alone, in a batch, and in a batch of another order."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .divergence import divergence
from .subject import AuditSubject, Prompt
from .trials import Trial

# Two prompts in reverse order have the same neighbours, three do not.
SMALLEST_BATCH = 3
# Share of the change to the own sound, below which the change to another one is no more than that of padding.
_NEAR = 0.1


def check_pairing(
    subject: AuditSubject, trials: Sequence[Trial], max_new_tokens: int, tolerance: float
) -> list[dict[str, Any]]:
    """
    Compare a batch of true sounds with the same batch in reverse order, and with its prompts one by one.

    Args:
        trials: At least 2, or there is no batch.
        tolerance: Of `change`; above it, the sound that a prompt seems to be answered with is looked for.

    Returns:
        For each trial `id`, the [`Divergence`] from the batch to the prompt `alone` and to the `reversed` batch, and
        `heard`: None where the prompt is answered as when it is alone; otherwise the id of the trial whose sound, given
        to the prompt alone, makes it answer as in the batch, or its own id if none does.
    """
    prompts = [trial.true for trial in trials]
    batch = subject.generate(subject.inputs(prompts), max_new_tokens)
    answers = [response.tokens for response in batch]
    backwards = subject.logits(subject.inputs(prompts[::-1]), answers[::-1])[::-1]
    rows = []
    for index, trial in enumerate(trials):
        own = divergence(batch[index].logits, _alone(subject, prompts[index], answers[index]))
        heard = None
        if own.change > tolerance:
            heard = trial.id
            changes = {}
            for other in trials:
                if other is not trial:
                    prompt = Prompt(trial.question, other.sound, trial.pictures)
                    changes[other.id] = divergence(batch[index].logits, _alone(subject, prompt, answers[index])).change
            nearest = min(changes, key=lambda name: changes[name])
            if changes[nearest] < max(tolerance, _NEAR * own.change):
                heard = nearest
        rows.append(
            {
                "id": trial.id,
                "alone": asdict(own),
                "reversed": asdict(divergence(batch[index].logits, backwards[index].logits)),
                "heard": heard,
            }
        )
    return rows


def _alone(subject: AuditSubject, prompt: Prompt, answer: Sequence[int]) -> Any:
    return subject.logits(subject.inputs([prompt]), [answer])[0].logits


__all__ = ["SMALLEST_BATCH", "check_pairing"]
