"""`soundclip eval geometry`: what sounds share with pictures, before and after the projection."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..output import UsageError, note, progress, reporting, result

if TYPE_CHECKING:
    from ...evaluation.results import EvalResult

NAMES = {
    "cka": "linear CKA with [CLS]",
    "cka_debiased": "linear CKA, debiased",
    "cls_r2": "R² of [CLS] by a linear map",
    "infonce_nats": "information bound (nats)",
    "probe_accuracy": "label by a linear probe",
}


def geometry(
    out: Annotated[Path, typer.Option("-o", "--out", help="The result file (JSON) to write.")],
    data: options.OptionalDataOption = None,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    split: options.SplitOption = None,
    media: options.MediaOption = None,
    frame: options.FrameOption = "middle",
    frames: options.FramesOption = 1,
    unique_video: options.UniqueVideoOption = True,
    limit: options.LimitOption = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 5,
    contrast: Annotated[
        int,
        typer.Option(min=2, help="Pairs among which the information bound tells one: it is at most their logarithm."),
    ] = 128,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of the information bound.  [default: chosen on the other half of the samples]"),
    ] = None,
    cache: options.EmbeddingCacheOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
    batch_size: options.BatchOption = 8,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Measure what sounds share with their pictures (the paper's F.1), with raw and with projected embeddings.

    Linear CKA with CLIP's [CLS], plain and debiased; how much of [CLS] a linear map predicts; a lower bound on the
    mutual information (InfoNCE); and how often a linear probe finds the label of a sample, where the rows have labels.
    Each has a 95 % interval over the samples, and the same of shuffled pairs beside it.

    With --cache alone, the samples in that file are measured, and no model is loaded.

    \b
      soundclip eval geometry --data synthetic --limit 500 --cache tiny.safetensors --out geometry.json
      soundclip eval geometry --cache clap.safetensors --out geometry.json

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug, "split", "media", "folds"):
        options.check_out(out)
        options.check_media(media)
        moment = options.parse_frame(frame)
        if temperature is not None and not 0 < temperature < float("inf"):
            raise UsageError(f"--temperature {temperature}: give a number above 0")
        if data is None and cache is None:
            raise UsageError("give --data, or the --cache of an earlier run")
        if data is None:
            for name, given in (("model", model), ("encoder", encoder), ("split", split), ("media", media)):
                if given is not None:
                    raise UsageError(f"--{name} goes with --data; the file of --cache says what it holds")

        from ...evaluation.geometry import measure_geometry
        from ...evaluation.results import EvalResult
        from ..loading import ModelChoice
        from .embedded import check_files, embed, kept

        check_files(out, cache)
        if data is None and cache is not None:
            measured = kept(cache, unique_video=unique_video, limit=limit, seed=seed)
        else:
            measured = embed(
                ModelChoice(model, revision, encoder, None, device, dtype, seed),
                str(data),
                split=split,
                media=media,
                frame=moment,
                frames=frames,
                unique_video=unique_video,
                limit=limit,
                cache=cache,
                batch_size=batch_size,
            )
        samples = measured.samples
        with progress("measuring", 8) as advance:
            metrics, error_bars, config = measure_geometry(
                samples, folds=folds, batch_size=contrast, temperature=temperature, seed=seed, progress=advance
            )
        found = EvalResult(
            task="geometry",
            n=len(samples),
            seed=seed,
            metrics=metrics,
            error_bars=error_bars,
            config={**measured.config, **config},
            **measured.fields,
        )
        found.save(out)
        if as_json:
            result({"out": str(out), **asdict(found)})
        else:
            _print(found)
        note(f"result: {out}")


def _print(found: "EvalResult") -> None:
    print(f"geometry of {found.n} samples, {found.dataset}: value [95 % interval], and that of shuffled pairs")
    print(f"{'':29}{'raw':>27}{'shuffled':>10}{'projected':>27}{'shuffled':>10}")
    for name, words in NAMES.items():
        cells = []
        for alignment in ("raw", "projected"):
            key = f"{alignment}_{name}"
            if key in found.metrics:
                low, high = found.error_bars["interval_95"][key]
                cells.append(f"{f'{found.metrics[key]:.3f} [{low:.3f}, {high:.3f}]':>27}")
                cells.append(f"{found.metrics['shuffled'][key]:>10.3f}")
        print(f"{words:29}{''.join(cells) or 'no labels that are frequent enough'}")
    bound = found.config["chosen"]["raw_infonce_nats"]
    print(f"the information bound tells one of {bound['batch_size']} pairs, so it is at most {bound['most']:.3f}")
    if found.config["labels"] is not None:
        probe = found.config["chosen"]["raw_probe_accuracy"]
        print(
            f"the label is the {found.config['labels']}, one of {probe['classes']}; the most frequent has a share of "
            f"{probe['majority']:.3f}"
        )


__all__ = ["geometry"]
