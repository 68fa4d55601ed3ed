"""`soundclip eval retrieval`: how well a sound finds its picture, and a picture its sound."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..output import UsageError, note, progress, reporting, result, warn

if TYPE_CHECKING:
    from ...evaluation.results import EvalResult


class Preset(StrEnum):
    paper = "paper"
    avva = "avva"
    full = "full"


# AVVA draws out of its whole set. A full pool is ranked once.
PRESETS: dict[Preset, dict[str, int | None]] = {
    Preset.paper: {"pool": 500, "sample": 100, "repeats": 5},
    Preset.avva: {"pool": None, "sample": 100, "repeats": 100},
    Preset.full: {"pool": None, "sample": None, "repeats": 1},
}


def retrieval(
    data: options.DataOption,
    out: Annotated[Path, typer.Option("-o", "--out", help="The result file (JSON) to write.")],
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    split: options.SplitOption = None,
    media: options.MediaOption = None,
    frame: options.FrameOption = "middle",
    frames: options.FramesOption = 1,
    unique_video: options.UniqueVideoOption = True,
    limit: options.LimitOption = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="paper: 5 times 100 pairs out of a pool of 500. avva: 100 times 100 out of all. full: every pair "
            "against all, once.  [default: paper]",
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        int | None, typer.Option(min=2, help="Pairs out of which each repeat draws.", show_default="500")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=2, help="Candidates of each query.", show_default="100")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="How often to draw.", show_default="5")] = None,
    full_pool: Annotated[
        bool, typer.Option("--full-pool", help="Rank every pair against all, as --preset full.")
    ] = False,
    cache: options.EmbeddingCacheOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and the bootstrap.")] = 0,
    batch_size: options.BatchOption = 8,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Measure retrieval: the rank of the true match among many, by cosine, with raw and with projected embeddings.

    Each sound is embedded once; raw and projected embeddings both follow from that. The picture's embedding is CLIP's
    [CLS]. A sample that cannot be read is named, counted in the result (failed in its config), and left out.

    \b
      soundclip eval retrieval --data synthetic --out retrieval.json
      soundclip eval retrieval --model out/clap --data clips --preset avva --cache clap.safetensors --out clap.json
      soundclip eval retrieval --data table.jsonl --media clips --full-pool --out full.json

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug, "split", "media"):
        options.check_out(out)
        options.check_media(media)
        moment = options.parse_frame(frame)
        protocol = _protocol(preset, pool, sample, repeats, full_pool)

        from ...evaluation.results import EvalResult
        from ...evaluation.retrieval import evaluate_retrieval, retrieval_metrics
        from ..loading import ModelChoice, find_device
        from .embedded import check_files, embed

        check_files(out, cache)
        measured = embed(
            ModelChoice(model, revision, encoder, None, device, dtype, seed),
            data,
            split=split,
            media=media,
            frame=moment,
            frames=frames,
            unique_video=unique_video,
            limit=limit,
            cache=cache,
            batch_size=batch_size,
        )
        samples, where = measured.samples, find_device(device)
        drawn = min(protocol["sample"] or len(samples), protocol["pool"] or len(samples), len(samples))
        with progress("ranking", 2 * drawn * (protocol["repeats"] or 1)) as advance:
            projected, raw = (
                evaluate_retrieval(audio.to(where), samples.pictures.to(where), **protocol, seed=seed, progress=advance)
                for audio in (samples.projected, samples.raw)
            )
        metrics, error_bars = retrieval_metrics(projected, raw)
        found = EvalResult(
            task="retrieval",
            n=len(samples),
            seed=seed,
            metrics=metrics,
            error_bars=error_bars,
            config={
                **measured.config,
                "preset": preset and preset.value,
                **{name: getattr(projected, name) for name in ("pool", "sample", "repeats")},
            },
            **measured.fields,
        )
        found.save(out)
        if as_json:
            result({"out": str(out), **asdict(found)})
        else:
            _print(found)
        if found.config["sample"] < 100:
            warn(f"only {found.config['sample']} candidates for each query: compare with chance, not with the paper")
        note(f"result: {out}")


def _protocol(
    preset: Preset | None, pool: int | None, sample: int | None, repeats: int | None, full_pool: bool
) -> dict[str, Any]:
    given = {name: value for name, value in {"pool": pool, "sample": sample, "repeats": repeats}.items() if value}
    options_given = [f"--{name}" for name in given] + ["--full-pool"] * full_pool
    if preset is not None and options_given:
        raise UsageError(f"--preset {preset} and {options_given[0]}: give one of them")
    if full_pool and given:
        raise UsageError(f"--full-pool and {options_given[0]}: every pair is ranked against all, so give one of them")
    return PRESETS[preset or (Preset.full if full_pool else Preset.paper)] | given


def _print(found: "EvalResult") -> None:
    config, chance = found.config, found.metrics["chance"]
    print(
        f"retrieval of {found.n} pairs, {found.dataset}: {config['repeats']} x {config['sample']} of a pool of "
        f"{config['pool']}"
    )
    names = {"mean_rank": "mean rank", "t1": "T1 %", "t3": "T3 %", "t10": "T10 %"}
    width = 30
    print(f"{'value ± sd [95 % interval]':29}" + "".join(f"{words:>{width}}" for words in names.values()))
    for alignment in ("raw", "projected"):
        for way, words in (("a2v", "sound to picture"), ("v2a", "picture to sound")):
            bars = found.error_bars[f"{alignment}_{way}"]
            cells = []
            for name in names:
                (low, high), sd = bars["interval_95"][name], bars["sd"][name]
                spread = "" if sd is None else f" ± {sd:.2f}"
                cells.append(f"{found.metrics[f'{alignment}_{way}'][name]:.2f}{spread} [{low:.1f}, {high:.1f}]")
            print(f"{alignment:10} {words:18}" + "".join(f"{cell:>{width}}" for cell in cells))
    print(f"{'chance':29}" + "".join(f"{chance[name]:>{width}.2f}" for name in names))


__all__ = ["retrieval"]
