"""`soundclip ave2 build`, `subset` and `shard`: a data set from a configuration, or its last stages by themselves."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from ..options import DebugOption, InclusiveOption, JsonOption, MediaOption, TableArgument, check_media
from ..output import FAILED, CliError, UsageError, note, reporting, result, with_progress
from .causes import Causes
from .publishing import showing

if TYPE_CHECKING:
    from ...data.build.config import BuildConfig
    from ...data.build.local import Progress


def build(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE…", help="Settings that override those of --config, such as judge.mode=media."
        ),
    ] = None,
    config: Annotated[
        str, typer.Option(help="A YAML file, or the name of one that comes with the package, such as dataset/ave2.")
    ] = ("dataset/ave2"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Run only this stage. May be given several times.")
    ] = None,
    restart: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Make this stage and those after it again.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Ask again for the captions and scores that failed.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Make a data set from long videos: segment, annotate, judge, subset, shard and push.

    To continue a run that was stopped, give the same command again. The shard that was being made is made again; models
    are not asked again for answers that they have given.

    Exit code: 0, 1 if something failed, 2 if the command line or the config is wrong.
    """
    with reporting(debug, "overwrite", "restart"):
        from ...data.build.config import read_build_config
        from ...data.build.folder import BuildError, BuildFolder
        from ...data.build.local import build as run
        from ...data.build.stages import STAGES
        from ...data.inference.client import ServerError
        from ...settings import SettingError

        for name, given in (("--only", only or ()), ("--restart", [restart] if restart else ())):
            for stage in given:
                if stage not in STAGES:
                    raise UsageError(f"{name} {stage}: give one of {', '.join(STAGES)}")
        try:
            chosen = read_build_config(_find(config), settings or [])
        except SettingError as error:
            raise UsageError(str(error)) from error
        stages = [*(only or STAGES)]
        try:
            if chosen.run.executor != "local":
                _on_a_cluster(chosen, stages, restart, retry, as_json)
                return
            push = _pusher() if chosen.push.repo and "push" in stages else None
            steps = run(chosen, stages=stages, push=push, restart=restart, retry=retry)
            failed, unreadable = _report(steps, as_json, Path(chosen.out))
        except (BuildError, ServerError) as error:
            raise CliError(str(error)) from error
        lost = BuildFolder(Path(chosen.out)).lost() if "segment" in stages else {}
        for name, reason in lost.items():
            note(f"not used: {reason if name in reason else f'{name}: {reason}'}")
        if failed:
            causes = _causes(Path(chosen.out) / "dead_letters")
            if as_json:
                result({"failed": failed, "cause": causes.most_frequent()})
            for line in causes.others():
                note(line)
            note(
                f"failed: {failed}, most often because: {causes.most_frequent()}; "
                f"see {Path(chosen.out) / 'dead_letters'}, and ask again with --retry"
            )
        if unreadable:
            note(f"failed: {unreadable}; {Path(chosen.out) / 'clips'} has the reason of each video (*.json)")
        if lost:
            note(f"not used: {len(lost)} videos; mend what is said above, and run this command again")
        if failed or unreadable or lost:
            raise typer.Exit(FAILED)


def subset(
    table: TableArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Parquet file to write: the rows that are kept, each with its split.")
    ],
    keep: Annotated[
        str,
        typer.Option(
            metavar="SUBSET",
            help="Which subset to keep: default (all rows), filtered, retrieval, localization or offscreen.",
        ),
    ] = "default",
    inclusive: InclusiveOption = False,
    eval_share: Annotated[
        float,
        typer.Option(min=0.0, max=0.99, help="Share of the videos in the split eval, chosen by the hash of their ids."),
    ] = 0.02,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Give each row the split of its video, and keep the rows of a subset.

    A row that breaks the schema is an error.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        require("datasets", "pyarrow", what="soundclip ave2 subset")

        from ...data.ave2.subsets import SUBSETS, selected
        from ...data.ave2.tables import write_parquet

        if keep not in SUBSETS:
            raise UsageError(f"--keep {keep}: give one of {', '.join(SUBSETS)}")
        counts: Counter[str] = Counter()
        written = write_parquet(selected(_rows(table), keep, inclusive, eval_share, counts), out)
        if as_json:
            result({"rows": written, **counts})
        else:
            print(f"{written} rows in {out}: {dict(counts)}")


def shard(
    table: TableArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the shards, ready to upload; it is made if there is none.")
    ],
    media: MediaOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace shards of other rows that are in OUT.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Write rows and their clips as the Parquet shards that `load_dataset` reads.

    Each row needs a split, which `soundclip ave2 subset` gives it.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug, "overwrite"):
        check_media(media)
        require("datasets", "pyarrow", what="soundclip ave2 shard")

        from ...data.ave2.shards import write_shards

        made = write_shards(_rows(table), out, media=media, overwrite=overwrite)
        if as_json:
            result({name: made[name] for name in ("rows", "splits", "rows_sha256")} | {"shards": len(made["shards"])})
        else:
            splits = ", ".join(f"{name} {split['data_rows']}" for name, split in made["splits"].items())
            clips = sum(split["media_rows"] for split in made["splits"].values())
            print(f"{made['rows']} rows ({splits}), {clips} with a clip, in {len(made['shards'])} shards in {out}")


def _rows(table: Path) -> Iterator[dict[str, Any]]:
    from ...data.ave2.tables import read_rows

    rows = read_rows(table)
    if (first := next(rows, None)) is None:
        raise CliError(f"{table}: has no rows")
    yield first
    yield from rows


def _causes(folder: Path) -> Causes:
    from ...data.annotation.dead_letters import read_dead_letters

    causes = Causes()
    for path in sorted(folder.glob("*.parquet")):
        for letter in read_dead_letters(path):
            causes.add(letter)
    return causes


# Why a whole video has no clips, where it is not the video that has none to give.
UNREADABLE = ("rejected: decode_error",)


def _report(steps: "Iterator[Progress]", as_json: bool, out: Path) -> tuple[dict[str, int], dict[str, int]]:
    """A line per stage, or with JSON per shard; returns which rows failed and which videos, by reason."""
    failed: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    following = next(steps, None)
    while following is not None:
        first, following = following, None
        counts, rows, fresh = Counter[str](), 0, 0

        def of_this_stage(first: "Progress" = first) -> "Iterator[Progress]":
            nonlocal following
            yield first
            for one in steps:
                if one.stage != first.stage:
                    following = one
                    return
                yield one

        for one in with_progress(of_this_stage(), first.total, first.stage):
            rows, fresh = rows + one.manifest["rows"], fresh + one.fresh
            counted = one.manifest.get("counts", {})
            # Requests of earlier runs are not what this one has cost.
            counts.update({name: count for name, count in counted.items() if one.fresh or name != "requests"})
            if as_json:
                progress: dict[str, Any] = {"stage": one.stage, "shard": one.shard, "fresh": one.fresh}
                names = ("rows", "counts", "seconds", "pushed")
                result(progress | {name: one.manifest[name] for name in names if name in one.manifest})
        failed.update({name: count for name, count in counts.items() if name.startswith("failed")})
        unreadable.update({name: count for name, count in counts.items() if name in UNREADABLE})
        said = _line(first, rows, fresh, out)
        (note if as_json else print)(f"{said}; {dict(counts)}" if counts else said)
    return dict(failed), dict(unreadable)


def _line(last: "Progress", rows: int, fresh: int, out: Path) -> str:
    """What a stage has done, and where it is."""
    if last.stage == "push":
        pushed = last.manifest["pushed"]
        sent = f"{pushed['sent']} files sent, {pushed['kept']} were there" if fresh else "as before"
        return f"push: {rows} rows in {pushed['url']}, commit {pushed['commit']}: {sent}"
    if last.stage == "shard":
        return f"shard: {rows} rows in {out / 'upload'}, {'made now' if fresh else 'as before'}"
    return f"{last.stage}: {rows} rows in {last.total} shard{'s'[: last.total != 1]}, {fresh} made now"


def _on_a_cluster(config: "BuildConfig", stages: list[str], restart: str | None, retry: bool, as_json: bool) -> None:
    from ...data.build.cluster import run_on_cluster

    push = _pusher() if config.push.repo and "push" in stages else None
    for stage, said in run_on_cluster(config, stages=stages, push=push, restart=restart, retry=retry):
        if as_json:
            result({"stage": stage, **said})
        else:
            print(f"{stage}: {said}")


def _find(name: str) -> Path:
    from ...settings import SettingError, find_config

    try:
        return find_config(name)
    except SettingError as error:
        raise UsageError(str(error)) from error


def _pusher() -> Callable[..., dict[str, Any]]:
    from ...publishing.ave2_push import push_folder

    return partial(push_folder, progress=showing)


__all__ = ["build", "shard", "subset"]
