"""`soundclip audit`: whether a model's answers depend on the sound, and on the right one."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..output import FAILED, CliError, UsageError, note, progress, reporting, result, warn
from .running import warn_left_out

if TYPE_CHECKING:
    from ...evaluation.audit import AuditReport, AuditSubject
    from ..loading import ModelChoice

# What --fail-below looks at. The choice of patches is rightly deaf where all or none of them are kept.
JUDGED = ("total", "token")
OURS = ("sound_llava", "llava", "llava_next")


def audit(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Hub id or folder of a SoundLlava, an adapter, or any model of transformers that takes sounds through "
            "its chat template.  [default: the bundled tiny model]",
        ),
    ] = None,
    data: options.DataOption = "synthetic",
    split: options.SplitOption = None,
    media: options.MediaOption = None,
    question: Annotated[str, typer.Option("-q", "--question", help="What to ask.")] = "What makes the sound?",
    limit: options.LimitOption = 64,
    fail_below: Annotated[
        float | None,
        typer.Option(
            help="Fail with exit code 1 if the model or the sound's token hears less than this, from 0 to 1, or if a "
            "fault was found."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Write the result as JSON, and each sample to a .jsonl file beside it. A stopped run continues with "
            "that.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of MODEL.")] = None,
    encoder: options.EncoderOption = None,
    top_k: options.TopKOption = None,
    alignment: options.AlignmentOption = None,
    patches: options.PatchesOption = None,
    frame: options.FrameOption = "middle",
    pairing: Annotated[
        int, typer.Option(min=0, help="How many samples to answer one by one, too, and in another order.")
    ] = 8,
    batch_size: options.BatchOption = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens an answer may have.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Decides which sample gets whose sound, and the intervals.")] = 0,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Check whether a model really hears.

    Every sample is put to the model with its own sound, with digital silence, with the sound of another sample, and
    with no sound. What it hears is a number from 0 to 1: how much of the probability moves to other tokens when the
    sound is swapped. For a SoundLlava, the sound's token and its choice of patches are also measured apart. Samples are
    answered in a batch and alone, too, which shows sounds that are paired with the wrong prompts.

    \b
      soundclip audit
      soundclip audit org/soundclip-clap --data clips/ --fail-below 0.2
      soundclip audit Qwen/Qwen2-Audio-7B-Instruct --data table.jsonl --out audit.json

    Exit code: 0, 1 if something failed or --fail-below found too little or a fault, 2 if the command line is wrong.
    """
    with reporting(debug, "media", "split"):
        if fail_below is not None and not 0 <= fail_below <= 1:
            shown = "NaN" if math.isnan(fail_below) else f"{fail_below:g}"
            raise UsageError(f"--fail-below {shown}: what a model hears is from 0 to 1; give a number of that range")
        options.check_out(out)
        options.check_media(media)
        if out is not None and out.suffix != ".json":
            raise UsageError(f"--out {out}: the result is a .json file")
        options.check_place(out)
        options.check_question(question)
        moment = options.parse_frame(frame)

        from ...evaluation.audit import Audit, AuditSettings
        from ...evaluation.samples import open_samples
        from ..describe.answer_file import AnswerFile
        from ..loading import ModelChoice

        samples = open_samples(data, split=split, media=media, limit=limit)
        how = alignment and alignment.value
        choice = ModelChoice(model, revision, encoder, how, device, dtype, seed, "MODEL")
        ours = {"--encoder": encoder, "--alignment": how, "--top-k": top_k, "--patches": patches}
        warn_left_out(samples)
        subject = _subject(choice, top_k, patches and patches.value, [name for name in ours if ours[name] is not None])
        settings = AuditSettings(question, max_new_tokens, batch_size, pairing, moment, seed)
        run = Audit(subject, samples, settings)
        for why in run.trials.failed.values():
            warn(why)
        silent = [one for one in run.trials.left_out if one not in {*run.trials.failed, *samples.left_out}]
        if silent:
            warn(f"{samples.name}: {len(silent)} of {len(samples)} samples have no sound; the first is {silent[0]}")
        lost = len(silent) + len(run.trials.failed)
        if lost:
            warn(f"{lost} of {len(samples)} samples cannot be used; the result is about the {len(run.trials)} others")
        file = None if out is None else AnswerFile(out.with_suffix(".jsonl"))
        done: dict[str, dict[str, Any]] = {}
        if file is not None:
            file.check(run.planned())
            done = {name: row for name, row in file.answered.items() if name in set(run.trials.ids)}
            if any("channels" not in row for row in done.values()):
                raise CliError(f"--out {out}: {file.path} holds answers that no audit wrote; choose another file")
        with progress("auditing", len(run.trials), len(done)) as advance:

            def keep(row: dict[str, Any]) -> None:
                if file is not None:
                    file.append(row)
                advance(1)

            report = run.run(done, keep)
        if file is not None and out is not None:
            file.close()
            report.result.save(out)
            note(f"{out}: the result; {out.with_suffix('.jsonl')}: each sample, {len(done)} of them from before")
        low = _too_low(report, fail_below)
        failed = fail_below is not None and bool(low or report.faults)
        if as_json:
            faults = [asdict(fault) for fault in report.faults]
            values = {**asdict(report.result), "hears": report.hears, "faults": faults, "failed": failed}
            result(values | ({} if out is None else {"out": str(out)}))
        else:
            _print(report)
        for line in low:
            note(line)
        if failed:
            raise typer.Exit(FAILED)


def _subject(choice: "ModelChoice", top_k: int | None, patches: str | None, given: list[str]) -> "AuditSubject":
    from ...evaluation.audit import SoundLlavaSubject, TransformersSubject
    from ...evaluation.generation.answering import largest_top_k
    from ..loading import find_config, load, load_any

    config = find_config(choice.source, choice.revision, choice.option)
    if config.model_type in OURS:
        loaded = load(choice)
        most = largest_top_k(loaded)
        if top_k is not None and most is not None and top_k > most:
            raise UsageError(f"--top-k {top_k}: the pictures of {loaded.name} have {most} patches; give 0..{most}")
        return SoundLlavaSubject(
            loaded.model,
            loaded.processor,
            loaded.name,
            loaded.revision,
            sound_top_k=top_k,
            sound_patches=patches,
            sound_alignment=choice.alignment or (None if choice.encoder is None else "raw"),
        )
    if given:
        raise UsageError(f"{given[0]}: {choice.source} is a {config.model_type!r} model; this is for a SoundLlava")
    model, processor = load_any(choice)
    revision = getattr(config, "_commit_hash", None) or choice.revision
    return TransformersSubject(model, processor, choice.shown_name, revision)


def _too_low(report: "AuditReport", fail_below: float | None) -> list[str]:
    if fail_below is None:
        return []
    hears = report.hears
    return [
        f"hears {hears[channel]:.3f} ({channel}), below {fail_below:g}"
        for channel in JUDGED
        if channel in hears and hears[channel] < fail_below
    ]


def _print(report: "AuditReport") -> None:
    found = report.result
    counts = found.config["counts"]
    print(f"{found.model} on {found.dataset}: what changes from the true sound, with 95 % intervals")
    head = ("channel", "sound", "n", "KL first", "KL mean", "moved", "flipped", "patches in common")
    rows = [head]
    for channel in ("total", "token", "patches"):
        for condition, numbers in found.metrics.get(channel, {}).items():
            bars = found.error_bars[channel][condition]
            kl = (f"{numbers[name]:.3g}" for name in ("kl_first", "kl_mean"))
            shares = (_share(numbers.get(name), bars.get(name)) for name in ("moved", "flipped", "kept_overlap"))
            rows.append((channel, condition, str(counts[f"{channel}.{condition}"]), *kl, *shares))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths)).rstrip())
    if report.pairing:
        worst = max(row["alone"]["moved"] for row in report.pairing)
        print(f"in a batch against alone: at most {worst:.2g} moved, n = {len(report.pairing)}")
    print(report.sentence)


def _share(value: float | None, interval: list[float] | None) -> str:
    return "" if value is None or interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


__all__ = ["audit"]
