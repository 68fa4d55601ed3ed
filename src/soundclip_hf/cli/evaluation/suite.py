"""`soundclip eval suite` and `report`: a list of measurements in one run, and a page about what they gave."""

import json
import shlex
import time
from glob import glob
from pathlib import Path
from typing import Annotated, Any

import typer

from ...files import write_text
from ...text_tables import json_value
from ..options import DebugOption, JsonOption, check_out, check_place
from ..output import CliError, UsageError, note, reporting, result
from .running import runner

PAGE, STEPS = "README.md", "suite.json"


def suite(
    context: typer.Context,
    config: Annotated[
        str, typer.Option(help="A YAML file, or the name of one that comes with the package, such as eval/tiny.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results, pictures and the page about them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the commands.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Run a list of soundclip commands, one after another, and write a page about their results.

    The config holds a title, a text, and the commands as they would be typed, with {out} for the folder. To continue a
    suite that was stopped, give the same command again: commands that are in suite.json have finished, and are not run
    again.

    \b
      soundclip eval suite --config eval/tiny --out results

    Exit code: 0, 1 if a command failed, 2 if the command line or the config is wrong.
    """
    with reporting(debug):
        check_out(out)
        check_place(out, folder=True)
        _check_page(out, overwrite=False)
        title, text, commands = _read(config)
        shown = [command.replace("{out}", shlex.quote(str(out))) for command in commands]
        if dry_run:
            for command in shown:
                result({"command": command}) if as_json else print(command)
            return
        out.mkdir(parents=True, exist_ok=True)
        done = _finished(out)
        run = runner(context, to_stderr=as_json)
        for number, command in enumerate(commands):
            if command in done:
                note(f"{number + 1} of {len(commands)}: finished before: {shown[number]}")
                continue
            note(f"{number + 1} of {len(commands)}: {shown[number]}")
            started = time.monotonic()
            code = run(_words(command, out)[1:])
            if code:
                raise CliError(f"{shown[number]}: ended with exit code {code}; give the same command to continue")
            done[command] = round(time.monotonic() - started, 1)
            write_text(out / STEPS, json.dumps(done, indent=2) + "\n")
            if as_json:
                result({"command": shown[number], "seconds": done[command]})
        # With a plain name of a folder the page can be copied from, and does not tell where it was made.
        given = f"soundclip eval suite --config {config} --out results"
        steps = [f"{command.replace('{out}', 'results')}  # {done[command]:.0f} s" for command in commands]
        _write(out, title, text, [given, "", "# which is", *steps])
        note(f"{out / PAGE}: {len(steps)} commands, {sum(done[command] for command in commands):.0f} s")


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with result files (JSON) and pictures.")],
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Results",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a README.md that this command did not write.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """
    Write a page (README.md) with tables of all results in a folder, and its pictures.

    \b
      soundclip eval report results --title "What I measured"

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        _check_page(folder, overwrite)
        _write(folder, title, "", [])
        print(folder / PAGE)


def _words(command: str, out: Path) -> list[str]:
    """The words of a command, file names with wildcards expanded, as a shell does it."""
    words = [word.replace("{out}", str(out)) for word in shlex.split(command)]
    return [name for word in words for name in (sorted(glob(word)) if "*" in word else []) or [word]]


def _finished(out: Path) -> dict[str, float]:
    """The seconds that each command took that has finished in an earlier run."""
    path = out / STEPS
    if not path.is_file():
        return {}
    try:
        found = json_value(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CliError(f"{path}: {error}; remove it to run every command again") from error
    if not isinstance(found, dict) or not all(isinstance(one, int | float) for one in found.values()):
        raise CliError(f"{path}: does not hold the seconds of commands; remove it to run every command again")
    return found


def _read(config: str) -> tuple[str, str, list[str]]:
    from ...settings import SettingError, find_config, read_config

    try:
        values = read_config(find_config(config))
    except SettingError as error:
        raise UsageError(str(error)) from error
    unknown = sorted(set(values) - {"title", "text", "commands"})
    commands: Any = values.get("commands")
    if unknown:
        raise UsageError(f"--config {config}: unknown setting {unknown[0]!r}; there are title, text, commands")
    if not isinstance(commands, list) or not commands or not all(isinstance(one, str) for one in commands):
        raise UsageError(f"--config {config}: commands={commands!r:.60}; write a list of commands")
    for command in commands:
        if shlex.split(command)[:1] != ["soundclip"] or shlex.split(command)[1:3] == ["eval", "suite"]:
            raise UsageError(f"--config {config}: {command!r} is no command of soundclip other than a suite")
    return str(values.get("title") or "Results"), " ".join(str(values.get("text") or "").split()), commands


def _check_page(folder: Path, overwrite: bool) -> None:
    """
    Raises:
        CliError: If the folder has a page that somebody else wrote.
    """
    from ...analysis.results_page import MARK

    page = folder / PAGE
    if overwrite or not page.exists():
        return
    if not page.is_file() or MARK not in page.read_text(encoding="utf-8", errors="replace"):
        how = "move it away, or measure into a folder of its own"
        raise CliError(f"{page}: was not written by soundclip eval; {how} (eval report also has --overwrite)")


def _write(folder: Path, title: str, text: str, commands: list[str]) -> None:
    from ...analysis.results_page import results_page

    write_text(folder / PAGE, results_page(folder, title=title, text=text, commands=commands))


__all__ = ["report", "suite"]
