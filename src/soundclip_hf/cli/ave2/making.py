"""`soundclip ave2 segment`: videos to clips."""

import json
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Annotated

import typer

from ...files import write_text
from ..options import DebugOption, JsonOption
from ..output import FAILED, CliError, UsageError, note, one_line, reporting, result, with_progress


def segment(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEOS...", help="Video files, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the clips and of their table, segments.jsonl.")],
    max_side: Annotated[
        int | None, typer.Option(min=16, help="Longest side of a clip, in pixels.  [default: that of the video]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many processes cut at the same time.  [default: one per core]")
    ] = None,
    backend: Annotated[
        str, typer.Option(metavar="auto|ffmpeg|pyav", help="What cuts; auto takes ffmpeg if it is installed.")
    ] = "auto",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Cut long videos into clips of 3 seconds.

    Videos that are finished are not cut again. For each clip that is not kept, the reason is printed. Videos that were
    cut into the same folder before stay in its table. A video that cannot be read, or on which processes die, costs
    itself alone, and is tried again by the next run.

    Exit code: 0, 1 if something failed or no clip was made, 2 if the command line is wrong.
    """
    with reporting(debug):
        if backend not in ("auto", "ffmpeg", "pyav"):
            raise UsageError(f"--backend {backend}: give auto, ffmpeg or pyav")

        from ...data.clips.cuts import Cutting, Job, id_fault
        from ...data.clips.segment import Encoding, cut_all
        from ...data.clips.transcoding import check_backend
        from ...files import locked_folder
        from ...media_kinds import CLIPS, media_files

        check_backend(backend)
        given: list[Path] = []
        unnamed: set[Path] = set()
        failed = 0
        for path in videos:
            if not path.exists():
                raise CliError(f"{path}: no such file or folder")
            if path.is_dir():
                found = media_files(path, CLIPS)
                if said := found.passed_over():
                    note(f"{path}: {said}")
                if not found.paths:
                    raise CliError(f"{path}: has no video files")
                given += [*found.paths, *found.unnamed]
                unnamed.update(found.unnamed)
            else:
                given.append(path)
        jobs = []
        for path in given:
            if fault := "is not UTF-8, and no table can hold it" if path in unnamed else id_fault(path.stem):
                note(f"error: {str(path)!r}: its name {fault}; rename the file")
                failed += 1
            else:
                jobs.append(Job(str(path), path.stem))
        cutting = Cutting(Encoding(max_side=max_side), backend=backend)
        clips, rejects = 0, Counter[str]()
        tables: dict[str, list[str]] = {}
        table = out / "segments.jsonl"
        with locked_folder(out):
            for made in with_progress(cut_all(jobs, out, cutting, workers), len(jobs), "cutting"):
                tables[made.job.video_id] = [json.dumps(row, ensure_ascii=False) for row in made.rows()]
                clips += len(made.segments)
                failed += made.lost is not None
                rejects.update(reject.reason for reject in made.rejects)
                for reject in made.rejects:
                    name = reject.video_id if reject.segment is None else f"{reject.video_id}, clip {reject.segment}"
                    note(f"rejected: {name}: {reject.reason}: {reject.detail}")
                if as_json:
                    result(
                        {
                            "video_id": made.job.video_id,
                            "clips": [clip.path for clip in made.segments],
                            "rejects": [{"segment": r.segment, "reason": r.reason} for r in made.rejects],
                        }
                    )
            kept = _lines_of_others(table, tables) if table.is_file() else []
            _write_lines(table, [*kept, *(line for job in jobs for line in tables[job.video_id])])
        if not as_json:
            more = f", beside {len(kept)} of earlier videos" if kept else ""
            print(f"{clips} clips of {len(jobs)} videos in {out}{more}; rejected: {dict(rejects) or 'none'}")
        if failed:
            note(f"failed: {failed} of {len(given)} videos; mend what is said above, and run this command again")
        if not clips or failed:
            raise typer.Exit(FAILED)


def _lines_of_others(table: Path, videos: Container[str]) -> list[str]:
    """The lines of an earlier run's table that are not about these videos."""
    from ...text_tables import json_lines, json_value

    try:
        return [line.rstrip() for _, line in json_lines(table) if json_value(line)["youtube_id"] not in videos]
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f"{table}: is no table of clips ({one_line(error)}); choose another --out") from error


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


__all__ = ["segment"]
