"""`soundclip eval overlay`: which patches of a frame a sound keeps, as a picture."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from .. import options
from ..output import CliError, UsageError, note, reporting, result, with_progress

if TYPE_CHECKING:
    from ...analysis.pictures.overlay import Overlay
    from ...evaluation.generation import AnsweringModel
    from ..describe.items import Item

_QUESTION = "What makes the sound?"


class Alignments(StrEnum):
    raw = "raw"
    projected = "projected"
    both = "both"

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("raw", "projected") if self is Alignments.both else (self.value,)


def overlay(
    out: Annotated[Path, typer.Option("-o", "--out", help="The .png, .svg or .pdf file to draw into.")],
    sources: options.SourcesArgument = None,
    model: options.AnsweringModelOption = None,
    revision: options.RevisionOption = None,
    encoder: options.EncoderOption = None,
    top_k: options.TopKOption = None,
    alignment: Annotated[
        Alignments, typer.Option(help="Which of the sound's embeddings choose patches, side by side.")
    ] = Alignments.both,
    frame: options.FrameOption = "middle",
    title: Annotated[str | None, typer.Option(help="Heading of the picture.  [default: none]")] = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights that no checkpoint has.")] = 0,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Show which patches a sound keeps and how similar each is to the sound, on the frame itself.

    Each clip or picture with its sound makes a row: the frame, then the patches by the raw embedding, then those by the
    projected one. What the model crops away is dark. Of LLaVA-1.6 the base view is shown, the whole frame without its
    tiles. Without files, the bundled clip is taken. The language model is not asked.

    \b
      soundclip eval overlay bell.mp4 --out bell.png
      soundclip eval overlay street.jpg siren.wav --model my/adapter --top-k 100 --out siren.png

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        options.check_out(out)
        options.check_place(out)
        if out.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--out {out}: a picture is a .png, .svg or .pdf file")
        moment = options.parse_frame(frame)
        require("matplotlib", what="soundclip eval overlay")

        from ..describe.answering import Asking
        from ..describe.items import bundled_item, checked, items_of_arguments
        from ..loading import ModelChoice, load

        items = [checked(item) for item in items_of_arguments(sources)] if sources else [bundled_item()]
        if errors := [item.error for item in items if item.error is not None]:
            raise CliError(errors[0])
        # With --encoder, "projected" says that no projector was trained for it.
        how = alignment.kinds[-1]
        loaded = load(ModelChoice(model, revision, encoder, how, device, dtype, seed))
        asking = Asking(question=_QUESTION, top_k=top_k, alignment=how, frame=moment, seed=seed).settled(loaded)

        from ...analysis.pictures.overlay import draw_overlays

        rows = [
            _row(item, moment, int(asking.top_k or 0), alignment.kinds, loaded)
            for item in with_progress(items, len(items), "embedding")
        ]
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_overlays(rows, out, title)
        for item, row in zip(items, rows):
            _report(item.id, row, as_json)
        note(f"picture in {out}")


def _row(item: "Item", frame: str | float, top_k: int, kinds: tuple[str, ...], loaded: "AnsweringModel") -> "Overlay":
    from ...analysis.pictures.overlay import Heard, Overlay
    from ...analysis.pictures.patch_grid import base_view_grid
    from ...evaluation.generation.kept_patches import kept_patches
    from ..describe.opening import open_item

    opened = open_item(item, _QUESTION, frame, loaded.processor.feature_extractor.sampling_rate)
    if opened.picture is None or opened.sound is None:
        raise CliError(f"{item.name}: has no {'picture' if opened.picture is None else 'sound'}; an overlay needs both")
    found = kept_patches(opened.picture, opened.sound, opened.rate, loaded, kinds, top_k=top_k)
    heard = {kind: Heard(*patches) for kind, patches in found.items()}
    grid = base_view_grid(opened.picture.size, loaded.processor, loaded.model.config)
    name = " + ".join(Path(source).name for source in item.media.values())
    return Overlay(name, opened.picture, grid, heard)


def _report(name: str, row: "Overlay", as_json: bool) -> None:
    kept = {kind: {int(patch) for patch in one.kept.nonzero()[0]} for kind, one in row.heard.items()}
    shared = None
    if len(kept) == 2:
        first, second = kept.values()
        # As many of the patches of either as of both; None where no patch is kept.
        shared = len(first & second) / len(first | second) if first | second else None
    for kind, one in row.heard.items():
        low, high = float(one.similarity.min()), float(one.similarity.max())
        values: dict[str, Any] = {"id": name, "alignment": kind, "patches": len(one.kept)}
        values |= {"kept": sorted(kept[kind]), "similarity": {"min": low, "max": high}, "overlap": shared}
        if as_json:
            result(values)
        else:
            print(f"{name}: {kind}: {len(kept[kind])} of {len(one.kept)} patches, cosine {low:.3f} to {high:.3f}")
    if shared is not None and not as_json:
        print(f"{name}: {shared:.0%} of the kept patches are the same with both")


__all__ = ["overlay"]
