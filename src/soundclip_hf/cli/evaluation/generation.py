"""`soundclip eval generation`: captions under a grid of settings, and how good they are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from .. import options
from ..output import FAILED, CliError, UsageError, note, progress, reporting, result, warn
from .running import warn_left_out

if TYPE_CHECKING:
    from ...evaluation.generation import CaptionScoring
    from ...evaluation.generation.settings import GenerationSettings
    from ...evaluation.results import EvalResult
    from ...evaluation.samples import Samples

RESULTS = "results"
SWEEP = "sweep"
SWEPT = (0.0, 0.25, 0.5, 0.75, 1.0)
# Packages of metrics that need one.
PACKAGES = {"bleu": "sacrebleu", "rouge": "rouge_score"}
# Not in the table at the end.
DETAILS = ("bertscore_precision", "bertscore_recall")


def generation(
    context: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for captions/ and results/.")],
    config: Annotated[
        str | None,
        typer.Option(
            help="A YAML file with settings of these options' names, or the name of one that comes with the package, "
            "such as eval/icassp2027. Options go before it."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Hub id or folder of a SoundLlava or an adapter; may be given several times.  [default: the bundled "
            "tiny model]"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="What to measure on: synthetic, a folder of clips, a table (.jsonl, .parquet), a folder of shards, or "
            "a data set on the Hub. Needed here or in --config."
        ),
    ] = None,
    split: options.SplitOption = None,
    media: options.MediaOption = None,
    limit: options.LimitOption = None,
    alignments: Annotated[
        str | None, typer.Option(help="raw, projected or both, joined by commas.  [default: raw,projected]")
    ] = None,
    alphas: Annotated[
        str | None,
        typer.Option(
            help="Weights of the raw embedding, joined by commas: 0 is projected, 1 is raw; sweep is 0,0.25,0.5,0.75,1."
        ),
    ] = None,
    top_k: Annotated[
        str | None,
        typer.Option(help="How many patches of a picture to keep, joined by commas.  [default: the model's setting]"),
    ] = None,
    patches: Annotated[
        str, typer.Option(help="What happens to the other patches: zero, drop or both, joined by commas.")
    ] = "zero",
    question: Annotated[str, typer.Option("-q", "--question", help="What to ask.")] = (
        "Describe what you see and hear."
    ),
    frame: options.FrameOption = "middle",
    batch_size: options.BatchOption = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens an answer may have.")] = 64,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the most probable token; above 0, tokens are sampled.")
    ] = 0.0,
    reference: Annotated[
        str,
        typer.Option(
            help="Which texts of a row are the reference: audio_visual_label, video_caption, audio_caption or "
            "video+audio; auto takes the first of them or the last, whichever a row has."
        ),
    ] = "auto",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Joined by commas: bleu, rouge, bertscore, clipscore, source_recall, clap_score.  [default: all for "
            "which there is what they need]"
        ),
    ] = None,
    bertscore_model: Annotated[
        str | None, typer.Option(help="Hub id or folder of a text encoder, such as roberta-large, for BERTScore.")
    ] = None,
    bertscore_layer: Annotated[
        int | None, typer.Option(min=0, help="Which of its hidden states to compare.  [default: 17 for roberta-large]")
    ] = None,
    bertscore_baseline: Annotated[
        str | None,
        typer.Option(
            help="Rescale BERTScore by this number, by a CSV file of bert-score, or by the one that comes with the "
            "package: roberta-large."
        ),
    ] = None,
    clip: Annotated[str | None, typer.Option(help="Hub id or folder of a CLIP, for CLIPScore.")] = None,
    clap: Annotated[str | None, typer.Option(help="Hub id or folder of a CLAP, for the CLAP score.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and the bootstrap.")] = 0,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Measure captions under every combination of model, alignment, budget and patch mode.

    The captions of each combination go to a file in OUT/captions, its scores to one in OUT/results. To continue a run
    that was stopped, give the same command again; what is there is not captioned again. A sample that cannot be read
    is named, counted in the results (n_failed in their config), and tried again by the next run.

    \b
      soundclip eval generation --data synthetic --limit 100 --top-k 4,8,16 --out out/generation
      soundclip eval generation --model me/adapter --data table.jsonl --media clips --alphas sweep --out out/sweep
      soundclip eval generation --config eval/icassp2027 --data clips.jsonl --model me/adapter --out out/icassp

    Exit code: 0, 1 if something failed, 2 if the command line or the config is wrong.
    """
    with reporting(debug, "split", "media", "reference"):
        options.check_out(out)
        options.check_place(out, folder=True)
        options.check_media(media)
        options.check_question(question)
        given = {
            "model": model,
            "data": data,
            "split": split,
            "media": media and str(media),
            "limit": limit,
            "alignments": _list(alignments, str, "--alignments"),
            "alphas": list(SWEPT) if alphas == SWEEP else _list(alphas, float, "--alphas"),
            "top_k": _list(top_k, int, "--top-k"),
            "patches": _list(patches, str, "--patches"),
            "question": question,
            "frame": frame,
            "batch_size": batch_size,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "reference": reference,
            "metrics": _list(metrics, str, "--metrics"),
            "bertscore_model": bertscore_model,
            "bertscore_layer": bertscore_layer,
            "bertscore_baseline": bertscore_baseline,
            "clip": clip,
            "clap": clap,
            "seed": seed,
        }
        settings = _settings(config, {name: value for name, value in given.items() if _is_typed(context, name)})
        moment = options.parse_frame(settings.frame)
        if settings.data is None:
            raise UsageError("--data: is needed, here or in --config; synthetic needs no files")
        packages = [PACKAGES[name] for name in settings.metrics if name in PACKAGES]
        if packages:
            require(*packages, what="soundclip eval generation (metrics bleu and rouge)")

        from ...evaluation.samples import open_samples
        from ..loading import ModelChoice

        choices = [
            ModelChoice(name, None, None, None, device, dtype, settings.seed) for name in settings.model or (None,)
        ]
        _check_names(choices)
        samples = open_samples(settings.data, split=settings.split, media=settings.media, limit=settings.limit)
        warn_left_out(samples)
        scoring = _scoring(samples, settings, moment, choices[0].place()[0])
        paths = [path for choice in choices for path in _caption(choice, samples, settings, moment, out)]
        results, unscored = _score(paths, scoring, out, as_json)
        if results and not as_json:
            _print(results, scoring)
        note(f"{out}: captions and results of {len(results)} of {len(paths)} settings")
        if unscored:
            raise typer.Exit(FAILED)


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _list(text: str | None, kind: Callable[[str], Any], option: str) -> list[Any] | None:
    if text is None:
        return None
    try:
        values = [kind(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(f"{option} {text}: write numbers, joined by commas") from error
    if not values:
        raise UsageError(f"{option} {text!r}: holds no value; write values joined by commas, or leave the option out")
    return values


def _settings(config: str | None, given: dict[str, Any]) -> "GenerationSettings":
    from ...evaluation.generation.settings import GenerationSettings
    from ...settings import SettingError, find_config, read_config, read_settings

    try:
        values = {} if config is None else read_config(find_config(config))
        return read_settings(GenerationSettings, values | given)
    except SettingError as error:
        raise UsageError(str(error)) from error


def _check_names(choices: Sequence[Any]) -> None:
    from ...evaluation.generation.cells import model_label

    labels: dict[str, str] = {}
    for choice in choices:
        label = model_label(choice.shown_name)
        if label in labels:
            raise UsageError(f"--model {choice.shown_name}: would write the files of {labels[label]}; leave one out")
        labels[label] = choice.shown_name


def _scoring(samples: "Samples", settings: "GenerationSettings", frame: str | float, where: Any) -> "CaptionScoring":
    from ...evaluation.generation import CaptionScoring
    from ...evaluation.text_metrics import BertScorer, ClapScorer, ClipScorer

    def load(name: str | None, metric: str, option: str, make: Callable[[str], Any]) -> Any:
        if name is None or metric not in settings.metrics:
            return None
        try:
            return make(name)
        except (OSError, ValueError, KeyError) as error:
            text = " ".join(str(error).split())
            raise CliError(f"{option} {name}: {text}") from error

    return CaptionScoring(
        samples,
        metrics=settings.metrics,
        reference=settings.reference,
        bert=load(
            settings.bertscore_model,
            "bertscore",
            "--bertscore-model",
            lambda name: BertScorer(name, layer=settings.bertscore_layer, baseline=settings.baseline, device=where),
        ),
        clip=load(settings.clip, "clipscore", "--clip", lambda name: ClipScorer(name, device=where)),
        clap=load(settings.clap, "clap_score", "--clap", lambda name: ClapScorer(name, device=where)),
        frame=frame,
        seed=settings.seed,
        protocol=settings.protocol,
    )


def _caption(
    choice: Any, samples: "Samples", settings: "GenerationSettings", frame: str | float, out: Path
) -> list[Path]:
    """Caption the samples with one model, which is not held in memory afterwards."""
    from ...evaluation.generation import Asked, generate_captions, read_captions
    from ...evaluation.generation.answering import largest_top_k
    from ..loading import load

    answering = load(choice)
    cells = settings.cells((answering.model.config.sound_config.token_budget,))
    most = largest_top_k(answering)
    for k in dict.fromkeys(cell.top_k for cell in cells):
        if most is not None and k > most:
            raise UsageError(f"--top-k {k}: the pictures of {answering.name} have {most} patches; give 0..{most}")
    asked = Asked(settings.question, frame, settings.max_new_tokens, settings.temperature, settings.seed)
    with progress("captioning", len(samples) * len(cells)) as advance:
        runs = generate_captions(samples, cells, answering, out, asked, batch_size=settings.batch_size, advance=advance)
    told: set[str] = set()
    for run in runs:
        for one, error in read_captions(run.path).errors.items() if run.failed else ():
            if one not in told:
                told.add(one)
                warn(error if one in error else f"{one}: {error}")
    if told:
        warn(f"{answering.name}: {len(told)} of {len(samples)} samples have no caption under some or all settings")
    return [run.path for run in runs]


def _score(
    paths: Sequence[Path], scoring: "CaptionScoring", out: Path, as_json: bool
) -> "tuple[list[EvalResult], int]":
    from dataclasses import asdict

    results, unscored = [], 0
    with progress("scoring", len(paths)) as advance:
        for path in paths:
            try:
                found = scoring.result(path)
            except ValueError as error:
                unscored += 1
                note(f"error: {error}")
            else:
                target = out / RESULTS / f"{path.stem}.json"
                found.save(target)
                results.append(found)
                if as_json:
                    result({"out": str(target), **asdict(found)})
            advance(1)
    return results, unscored


def _print(results: "Sequence[EvalResult]", scoring: "CaptionScoring") -> None:
    columns = dict.fromkeys(name for found in results for name in found.metrics if name not in DETAILS)
    rows = [("model", "alpha", "k", "patches", "n", "failed", *columns)]
    for found in results:
        config = found.config
        cells = [_number(found, name) for name in columns]
        alpha = f"{config['alpha']:g}" if config["alignment"] == "mixed" else config["alignment"]
        rows.append(
            (found.model, alpha, str(config["k"]), config["mode"], str(found.n), str(config["n_failed"]), *cells)
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"captions of {results[0].dataset}; value [95 % interval over samples]")
    for row in rows:
        print("  ".join(f"{text:{width}}" for text, width in zip(row, widths)).rstrip())
    for name, reason in scoring.not_computed.items():
        note(f"{name}: not computed, {reason}")


def _number(found: "EvalResult", name: str) -> str:
    if name not in found.metrics:
        return "-"
    interval = found.interval(name)
    text = f"{found.metrics[name]:.3f}"
    return text if interval is None else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"


__all__ = ["generation"]
