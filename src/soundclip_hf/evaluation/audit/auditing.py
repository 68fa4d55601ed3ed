"""`audit`: puts the samples of a data set to a model with the true sound, in silence, with a wrong sound or none."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..results import EvalResult
from ..samples import Samples
from .measuring import measure
from .pairing import SMALLEST_BATCH, check_pairing
from .subject import AuditSubject
from .summary import summarise
from .trials import Trials
from .verdict import Fault, find_faults, tolerance_of

_WORDS = {"token": "the sound's token with all patches kept", "patches": "the choice of patches alone"}
QUESTION = "What makes the sound?"
# Width of an interval from which on the sentence asks for more samples.
_WIDE = 0.5


@dataclass(frozen=True)
class AuditSettings:
    """
    Attributes:
        question: Put to every sample.
        max_new_tokens: Of an answer.
        batch_size: Prompts at a time.
        pairing: How many samples are answered alone, too, and in batches of another order; 0 skips that check.
        frame: Which frame of a video is its picture: "middle", "first", or seconds.
        seed: Decides who gets whose sound, and the bootstrap.

    Raises:
        ValueError: If a number is too small.
    """

    question: str = QUESTION
    max_new_tokens: int = 16
    batch_size: int = 8
    pairing: int = 8
    frame: str | float = "middle"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("max_new_tokens", 1), ("batch_size", 1), ("pairing", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True)
class AuditReport:
    """
    Attributes:
        result: Everything in total, with 95 % intervals: `metrics["hears"]` by channel, and for each channel and
            condition what [`summarise`] returns.
        examples: The rows of [`measure`], in the order of the samples.
        pairing: The rows of [`check_pairing`].
        faults: What the numbers are consistent with; empty for a model that hears each sound where it belongs.
    """

    result: EvalResult
    examples: list[dict[str, Any]]
    pairing: list[dict[str, Any]]
    faults: list[Fault]

    @property
    def hears(self) -> dict[str, float]:
        """
        By channel, from 0 to 1: the share of probability that moves to other tokens when the sound is swapped, at the
        token of the answer where it is largest, averaged over the samples.
        """
        return self.result.metrics["hears"]

    @property
    def sentence(self) -> str:
        """The verdict in a sentence, or one for each fault."""
        low, high = self.result.error_bars["hears"]["total"]
        percent = f"{100 * self.hears['total']:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
        if self.faults:
            return "\n".join(f"Fault ({fault.name}): {fault.text}" for fault in self.faults)
        parts = [f"{100 * self.hears[name]:.0f} % through {_WORDS[name]}" for name in _WORDS if name in self.hears]
        ways = f", {' and '.join(parts)}" if parts else ""
        few = "" if high - low < _WIDE else " They are too few to say how much it hears: take more."
        return (
            f"It hears: a swapped sound moves {percent} of the probability at the token that it changes most{ways}. "
            f"No fault was found in {self.result.n} samples.{few}"
        )


class Audit:
    """
    An audit that can be stopped and continued.

    Args:
        subject: The model.
        samples: With sounds; those without, and those that cannot be read, are left out and listed in the result.
        settings: See [`AuditSettings`].

    Raises:
        ValueError: If no sample has a sound, or fewer than two groups have one.
    """

    def __init__(self, subject: AuditSubject, samples: Samples, settings: AuditSettings | None = None) -> None:
        self.subject, self.samples = subject, samples
        self.settings = settings or AuditSettings()
        self.trials = Trials(
            samples, subject.sampling_rate, self.settings.question, self.settings.frame, self.settings.seed
        )

    def planned(self) -> list[dict[str, Any]]:
        """What is known of each row before it is measured: the sample, whose sound it gets, and the settings."""
        model = {"model": self.subject.name, "revision": self.subject.revision, **self.subject.settings}
        asked = {name: getattr(self.settings, name) for name in ("question", "max_new_tokens", "frame")}
        trials = self.trials
        return [
            {"id": name, "group": group, "swapped_with": other, **asked, **model}
            for name, group, other in zip(trials.ids, trials.groups, trials.swapped_with)
        ]

    def run(
        self,
        done: Mapping[str, dict[str, Any]] | None = None,
        keep: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> AuditReport:
        """
        Measure and judge.

        Args:
            done: Rows of an earlier run, by id, which are not measured again.
            keep: Is given each new row.

        Raises:
            ValueError: If all sounds are the same, or logits are not finite.
        """
        settings, trials = self.settings, self.trials
        planned = {row["id"]: row for row in self.planned()}
        rows = {name: row for name, row in (done or {}).items() if name in planned}
        left = [index for index, name in enumerate(trials.ids) if name not in rows]
        for batch in trials.batches(left, settings.batch_size):
            for row in measure(self.subject, batch, settings.max_new_tokens):
                rows[row["id"]] = planned[row["id"]] | row
                keep(rows[row["id"]])
        examples = [rows[name] for name in trials.ids]
        return self._report(examples, self._pairing())

    def _pairing(self) -> list[dict[str, Any]]:
        size = max(SMALLEST_BATCH, self.settings.batch_size)
        wanted = min(self.settings.pairing, len(self.trials))
        chunks = [list(range(start, min(start + size, wanted))) for start in range(0, wanted, size)]
        if len(chunks) > 1 and len(chunks[-1]) < SMALLEST_BATCH:
            chunks[-2:] = [chunks[-2] + chunks[-1]]
        tolerance = tolerance_of(self.subject.precision)
        return [
            row
            for chunk in chunks
            if len(chunk) > 1
            for row in check_pairing(
                self.subject, [self.trials[index] for index in chunk], self.settings.max_new_tokens, tolerance
            )
        ]

    def _report(self, examples: list[dict[str, Any]], pairing: list[dict[str, Any]]) -> AuditReport:
        tolerance = tolerance_of(self.subject.precision)
        if not any(row["channels"]["total"]["swapped"] for row in examples):
            raise ValueError(
                f"{self.samples.name}: every sound is the same as the one that it is swapped with, or silence, so no "
                "difference can be heard"
            )
        means, intervals, counts = summarise(examples, tolerance, self.settings.seed)
        faults = find_faults(examples, pairing, tolerance)
        metrics: dict[str, Any] = {"hears": {}}
        bars: dict[str, Any] = {"hears": {}}
        for (channel, condition), numbers in means.items():
            metrics.setdefault(channel, {})[condition] = numbers
            bars.setdefault(channel, {})[condition] = intervals[channel, condition]
            if condition == "swapped":
                metrics["hears"][channel] = numbers["moved"]
                bars["hears"][channel] = intervals[channel, condition]["moved"]
        if pairing:
            metrics["pairing"] = {
                way: {name: max(row[way][name] for row in pairing) for name in ("moved", "change")}
                for way in ("alone", "reversed")
            }
        result = EvalResult(
            task="audit",
            model=self.subject.name,
            revision=self.subject.revision,
            dataset=self.samples.name,
            dataset_revision=self.samples.revision,
            n=len(examples),
            seed=self.settings.seed,
            metrics=metrics,
            error_bars=bars,
            config={
                **asdict(self.settings),
                **self.subject.settings,
                "precision": str(self.subject.precision).removeprefix("torch."),
                "tolerance": tolerance,
                "samples": self.samples.identity(),
                "left_out": self.trials.left_out,
                "counts": {**counts, "pairing": len(pairing)},
                "pairing_rows": pairing,
                "faults": [asdict(fault) for fault in faults],
            },
        )
        return AuditReport(result, examples, pairing, faults)


def audit(subject: AuditSubject, samples: Samples, settings: AuditSettings | None = None) -> AuditReport:
    """
    Ask a model about samples with the true sound, with digital silence, with the sound of another video and with no
    sound at all, and measure what that changes.

    Arguments and errors are those of [`Audit`], which can also be stopped and continued.

    ```python
    from soundclip_hf.evaluation.audit import SoundLlavaSubject, audit
    from soundclip_hf.evaluation.samples import open_samples

    report = audit(SoundLlavaSubject(model, processor), open_samples("synthetic", limit=16))
    print(report.hears, report.faults)
    ```
    """
    return Audit(subject, samples, settings).run()


__all__ = ["QUESTION", "Audit", "AuditReport", "AuditSettings", "audit"]
