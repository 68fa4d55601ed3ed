"""`soundclip align`: train the projector of an adapter on clips with sound, and measure its retrieval."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DebugOption, JsonOption
from .output import FAILED, UsageError, note, progress, reporting, result, warn

if TYPE_CHECKING:
    from ..evaluation.results import EvalResult

# Words that are not among the options below are settings of the run.
SETTINGS_FOLLOW = {"allow_extra_args": True, "ignore_unknown_options": True}


def align(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(help="A YAML file, or the name of one that comes with the package, such as align/whisperclip."),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Train all rows of one of the paper's tables: loss, pooling, size or last_n.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Train the projector between an audio encoder and the visual space of a LLaVA.

    Encoder and LLaVA are not changed. The settings are those of soundclip_hf.training.arguments and of transformers'
    TrainingArguments. They come from --config, and each may be given as an option, too. To continue a run that was
    stopped, give the same command again.

    \b
      soundclip align --config align/whisperclip --dataset my-clips
      soundclip align --config align/clap --dataset org/clips --eval_split test --output_dir out/clap
      soundclip align --base_model llava-hf/llava-1.5-7b-hf --audio_encoder openai/whisper-base --dataset my-clips \\
          --cache_embeddings out/cache --per_device_train_batch_size 1024 --seed 1
      soundclip align --config align/whisperclip --dataset my-clips --grid loss

    The last lines and --json name the epoch with the best validation, and what it was chosen by. curve.png in
    --output_dir shows the losses and the retrieval of all epochs (with the extra plots).

    The commands describe, embed and index take the adapter in --output_dir as --model. To train on several devices:
    accelerate launch -m soundclip_hf.training.alignment --config align/whisperclip …

    Exit code: 0, 1 if something failed, 2 if the command line or the config is wrong.
    """
    with reporting(debug):
        from ..settings import SettingError
        from ..training.arguments import check_extra, read_arguments

        check_extra()  # before the seconds that the imports below take
        from transformers.utils import logging as transformers_logging

        from ..training.embedding_cache import CacheError
        from ..training.trainer import TrainingError
        from .output import CliError

        transformers_logging.disable_progress_bar()
        options = context.args
        if not sys.stderr.isatty():
            options = ["--disable_tqdm", "true", *options]
        try:
            # The trainer prints what it logs, and results alone belong on stdout.
            if grid is not None:
                from ..training.ablations import as_markdown, run_grid

                done = []
                rows = run_grid(grid, options, config, progress)
                while True:
                    with redirect_stdout(sys.stderr):
                        entry = next(rows, None)
                    if entry is None:
                        break
                    done.append(entry)
                    if as_json:
                        result(_row(entry[1], row=entry[0].label, paper=list(entry[0].paper)))
                if not as_json:
                    print(as_markdown(done), end="")
                _end([measured for _, measured in done])
                return
            settings, training = read_arguments(options, config)
            from ..publishing import model_push  # noqa: F401  (registers what --push_to_hub publishes with)
            from ..training.alignment import align as train

            with redirect_stdout(sys.stderr):
                measured = train(settings, training, progress)
        except SettingError as error:
            raise UsageError(str(error)) from error
        except (TrainingError, CacheError, ImportError) as error:
            raise CliError(str(error)) from error
        if as_json:
            result(_row(measured))
        else:
            _print(measured)
        if measured.n < 100:
            warn(f"retrieval was measured on {measured.n} pairs: chance is near, and the intervals are wide")
        _end([measured])


def _end(results: "list[EvalResult]") -> None:
    """The last lines: the best epoch and the adapter of each run. Rows that were left out are a failure."""
    for measured in results:
        if (best := measured.metrics.get("best_epoch")) is not None:
            chosen_by = _chosen_by(best)
            kept = best["epoch_of_the_adapter"]
            note(
                f"best epoch: {best['epoch']:g} of {best['last_epoch']:g}, by {chosen_by} "
                f"({best[chosen_by]:.4g}); the adapter is that of epoch {kept:g}"
            )
            if kept != best["epoch"]:
                note("to keep the best one, train again with --load_best_model_at_end true --overwrite true")
        note(f"adapter: {measured.model}")
    left_out = max((measured.metrics.get("rows_left_out", 0) for measured in results), default=0)
    if left_out:
        note(f"error: {left_out} rows of the dataset could not be used and were left out")
        raise typer.Exit(FAILED)


def _chosen_by(best: dict[str, float]) -> str:
    return next(name for name in best if name.startswith("eval_"))


def _row(measured: "EvalResult", **more: Any) -> dict[str, Any]:
    best = measured.metrics.get("best_epoch")
    return {
        **more,
        "adapter": measured.model,
        "best_epoch": None if best is None else best["epoch"],
        "best_epoch_chosen_by": None if best is None else _chosen_by(best),
        "n": measured.n,
        "seed": measured.seed,
        "metrics": measured.metrics,
        "error_bars": measured.error_bars,
    }


def _print(measured: "EvalResult") -> None:
    chance = measured.metrics["chance"]["mean_rank"]
    print(f"retrieval of {measured.n} held-out pairs, mean rank of {measured.config['sample']} (chance {chance:g}):")
    for name in ("raw", "projected"):
        for way, words in (("a2v", "sound to picture"), ("v2a", "picture to sound")):
            values = measured.metrics[f"{name}_{way}"]
            low, high = measured.error_bars[f"{name}_{way}"]["interval_95"]["mean_rank"]
            print(
                f"  {name:9} {words}: {values['mean_rank']:6.2f} [{low:.2f}, {high:.2f}]   "
                f"T1 {values['t1']:.1f} %  T3 {values['t3']:.1f} %  T10 {values['t10']:.1f} %"
            )


__all__ = ["SETTINGS_FOLLOW", "align"]
