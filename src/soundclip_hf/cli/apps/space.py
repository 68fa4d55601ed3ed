"""`soundclip space`: the files of a Hugging Face Space that runs the page of `soundclip demo`."""

from pathlib import Path
from typing import Annotated

import typer

from ...extras import require
from .. import options
from ..output import CliError, UsageError, note, reporting, result


def space(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; it is made if there is none.")],
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Id of a model on the Hub, org/name or org/name@revision, or tiny.")
    ] = "tiny",
    title: Annotated[str | None, typer.Option(help="Title of the Space.  [default: of the model's name]")] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="Licence of the Space's own files, as the Hub spells it.")
    ] = "apache-2.0",
    package: Annotated[
        str | None,
        typer.Option(
            help="What pip installs as soundclip-hf, such as 'soundclip-hf[demo] @ git+https://...'.  "
            "[default: the installed version]"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a DIR that is not empty; other files in it stay.")
    ] = False,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Write a Hugging Face Space that shows a model: card, program, requirements and example clips.

    Nothing is sent. The command to upload the folder is printed at the end.

    \b
      soundclip space my-space org/soundclip-whisper
      hf upload me/my-space my-space . --repo-type space

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        # The card names the version of Gradio that is installed.
        require("gradio", "matplotlib", what="soundclip space", extra="demo")
        options.check_place(folder, "DIR", folder=True)
        if not overwrite and folder.is_dir() and any(folder.iterdir()):
            raise CliError(f"{folder}: is not empty; choose another folder, or add --overwrite")

        from ...demo.space import check_model, write_space

        try:
            check_model(model)
        except ValueError as error:
            raise UsageError(f"MODEL {error}") from error
        files = write_space(folder, model, title=title, license_name=license_name, package=package)
        command = f"hf upload YOUR_NAME/{folder.resolve().name} {folder} . --repo-type space"
        if as_json:
            result({"folder": str(folder), "files": [str(path) for path in files], "upload": command})
        else:
            print(folder)
        note(f"{len(files)} files written; try it with `python {folder / 'app.py'}`, then upload it:\n  {command}")


__all__ = ["space"]
