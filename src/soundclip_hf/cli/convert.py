"""`soundclip convert`: convert an encoder's original weights to a safetensors folder, and check it."""

import json
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DebugOption, JsonOption
from .output import CliError, UsageError, reporting, result, warn, with_progress

if TYPE_CHECKING:
    from ..conversion.golden import Comparison, Golden


class Encoder(StrEnum):
    imagebind = "imagebind"
    audioclip = "audioclip"
    wav2clip = "wav2clip"
    clap = "clap"
    msclap = "msclap"
    whisper = "whisper"


def convert(
    encoder: Annotated[Encoder, typer.Argument(metavar="ENCODER", help=f"Which encoder it is: {', '.join(Encoder)}.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The original .pth, .pt, .bin or .safetensors file.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.")],
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of golden vectors to check the converted code against. Its fill.py is run.",
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Set a field of the configuration, such as layer_fusion=final."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model that is in DST.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Convert the original checkpoint of an audio encoder into a folder for AutoModel and AutoFeatureExtractor.

    Only weights are read from SRC; code in it is not run. Weights that are missing or unknown are an error. The result
    is loaded again, converted back, compared with SRC bit by bit and run on a sound. DST is written only if all of this
    succeeds.

    \b
      soundclip convert imagebind imagebind_huge.pth encoders/imagebind
      soundclip convert whisper model.safetensors encoders/whisper --set layer_fusion=final --json

    Exit code: 0, 1 if something failed or differs, 2 if the command line is wrong.
    """
    with reporting(debug, "overwrite"):
        name, changed = encoder.value, _changed(encoder.value, fields or [])
        if source.resolve().is_relative_to(destination.resolve()):
            raise UsageError(f"{destination}: holds SRC ({source}), which would be replaced; give another folder")
        if not source.is_file():
            raise CliError(f"{source}: {'is a folder; give a file' if source.is_dir() else 'no such file'} of weights")

        from transformers.utils import logging as transformers_logging

        from ..conversion import ORIGINS, from_original, read_original
        from ..conversion.card import PROVENANCE, conversion_card, versions
        from ..conversion.folder_check import check_folder
        from ..conversion.new_folder import check_free, new_folder
        from ..files import sha256
        from ..modeling.finite import check_finite

        transformers_logging.disable_progress_bar()
        check_free(destination, overwrite)
        vectors = _vectors(name, golden)
        if (warning := PROVENANCE[name].warning) is not None:
            warn(warning)
        state = read_original(source)
        check_finite({key: value for key, value in state.items() if hasattr(value, "is_floating_point")}, source)
        digest = sha256(source, partial(with_progress, doing="hashing"))
        model, extractor = from_original(name, state, **changed)
        row: dict[str, Any] = {"encoder": name, "source": str(source), "sha256": digest, "destination": None}
        row |= {"licence": PROVENANCE[name].weights_licence, "versions": versions()}
        say = (lambda text: None) if as_json else print

        compared = [one.to_dict() for one in _compare(name, vectors, say)]
        if compared:
            row["golden"] = compared
        if failed := sum(not one["ok"] for one in compared):
            if as_json:
                result(row)
            raise CliError(f"{failed} of {len(compared)} golden vectors are not met; {destination} was not written")

        with new_folder(destination, overwrite=overwrite) as folder:
            model.save_pretrained(folder)
            extractor.save_pretrained(folder)
            check = check_folder(folder, ORIGINS[name], state)
            checks = check.lines
            if compared:
                checks.append(f"golden vectors: {len(compared)} of {len(compared)} within tolerance")
            card = conversion_card(name, model, file_name=source.name, sha256=digest, checks=checks, changed=changed)
            (folder / "README.md").write_text(card, encoding="utf-8")
        for line in checks:
            say(line)
        say(f"wrote {destination}")
        if as_json:
            result({**row, **check.to_dict(), "destination": str(destination)})


def _changed(name: str, fields: list[str]) -> dict[str, Any]:
    """Fields of the configuration, from FIELD=VALUE; values are JSON, or words as they are."""
    changed: dict[str, Any] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise UsageError(f"--set {field}: give FIELD=VALUE")
        try:
            changed[key] = json.loads(value)
        except ValueError:
            changed[key] = value
    if changed:
        from transformers import AutoConfig

        from ..conversion import ORIGINS

        known = set(AutoConfig.for_model(ORIGINS[name].model_type).to_dict()) - {"model_type"}
        if unknown := sorted(set(changed) - known):
            raise UsageError(f"--set {unknown[0]}: the configuration of {name} has no such field")
    return changed


def _vectors(name: str, folder: Path | None) -> "list[Golden]":
    from ..conversion.golden import GOLDEN, read_golden

    if folder is None:
        return []
    if name not in GOLDEN:
        raise UsageError(f"--golden: there are no golden vectors of {name}; it is not verified against the original")
    return [read_golden(folder, golden) for golden in GOLDEN[name]]


def _compare(name: str, vectors: "list[Golden]", say: Any) -> "Iterator[Comparison]":
    """The port with the weights that the vectors were made with; those of the file play no part."""
    from ..conversion import from_original
    from ..conversion.golden_stages import compare_stages

    for golden in vectors:
        say(f"golden vectors of {golden.name} (with generated weights)")
        model, extractor = from_original(name, golden.state_dict)
        for one in compare_stages(golden, model, extractor):
            remark = f"  ({one.remark})" if one.remark else ""
            verdict = "ok" if one.ok else "FAILED"
            say(f"  {one.array:<32} {one.difference:<10.2e} {one.tolerance:<16} {verdict}{remark}")
            yield one


__all__ = ["convert"]
