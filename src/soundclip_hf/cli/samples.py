"""`soundclip samples`: files to try the other commands with."""

from pathlib import Path
from typing import Annotated

import typer

from .options import DebugOption, JsonOption, check_place
from .output import note, reporting, result, with_progress


def samples(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go.")],
    count: Annotated[int, typer.Option(min=1, help="How many clips to write.")] = 12,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace sample files that were changed, and remove clips beyond --count; others stay."
        ),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Write sample files that the bundled model understands: clips, a picture, sounds and questions.

    The clips are synthetic scenes of 3 seconds; the bundled model was not trained on them. scene.png shows several
    things, and there is a sound of each of them. clips.jsonl is for `describe --manifest`, and questions.jsonl, with
    true answers, for `finetune --dataset`.

    Other files in the folder stay. A sample file that was changed is replaced with --overwrite only.

    \b
      soundclip samples samples
      soundclip describe samples/scene.png samples/piano.wav

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug, "overwrite"):
        check_place(folder, "FOLDER", folder=True)
        check_place(folder / "clips", "FOLDER", folder=True)

        from ..data.synthetic.sample_files import write_sample_files

        # The picture, its three sounds and two files of JSON lines come beside the clips.
        written = [
            str(path)
            for path in with_progress(write_sample_files(folder, count, overwrite=overwrite), count + 6, "files")
        ]
        if as_json:
            result({"folder": str(folder), "files": written})
        else:
            print(f"{len(written)} files in {folder}")
            note(f"try: soundclip describe {folder / 'scene.png'} {folder / 'piano.wav'}")


__all__ = ["samples"]
