"""`soundclip finetune`: train a model that hears on conversations, and measure its answers before and after."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DebugOption, JsonOption
from .output import FAILED, UsageError, note, progress, reporting, result

if TYPE_CHECKING:
    from ..evaluation.results import EvalResult
    from ..training.finetuning.run import DryRun

# Shares of the right answers -> what is said of them behind the alignment.
_ANSWERS = {
    "exact": "",
    "exact_silent": ", silent sound",
    "exact_swapped": ", another sound",
    "exact_swapped_heard": ", right for that sound",
    "exact_none": ", no sound",
}


def finetune(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(help="A YAML file, or the name of one that comes with the package, such as finetune/tiny."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be trained, the memory that it would take, and the first batch. Load no weights.",
        ),
    ] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="With --dry-run: devices that share the weights (FSDP, ZeRO-3).")
    ] = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Train a model that hears on conversations about sounds, pictures and clips.

    Rows of the data set are chat messages, or questions with answers. What is trained is a preset: projector,
    projector+mm_projector, lora, lora+projector or full-lm. Audio encoder and vision tower are never changed. The
    settings are those of soundclip_hf.training.finetuning.arguments and of transformers' TrainingArguments. They come
    from --config, and each may be given as an option, too. To continue a run that was stopped, give the same command
    again.

    \b
      soundclip finetune --config finetune/tiny
      soundclip finetune --model out/align --dataset rows.jsonl --preset lora+projector --output_dir out/lora
      soundclip finetune --config finetune/llava-1.5-7b-lora --dataset org/questions --dry-run

    The commands describe, audit and push take --output_dir as --model. To train on several devices:
    accelerate launch -m soundclip_hf.training.finetuning --config finetune/llava-1.5-7b-lora …

    Exit code: 0, 1 if something failed, 2 if the command line or the config is wrong.
    """
    with reporting(debug):
        from ..settings import SettingError
        from ..training.settings_parser import check_extra

        check_extra()  # before the seconds that the imports below take
        from transformers.utils import logging as transformers_logging

        from ..training.embedding_cache import CacheError
        from ..training.finetuning.arguments import read_arguments
        from ..training.trainer import TrainingError
        from .output import CliError

        transformers_logging.disable_progress_bar()
        options = context.args
        if not sys.stderr.isatty():
            options = ["--disable_tqdm", "true", *options]
        if dry_run:  # transformers refuses bf16 where there is no GPU, and a dry run computes nothing with it
            options = ["--use_cpu", "true", *options]
        try:
            settings, training = read_arguments(options, config)
            from ..publishing import model_push  # noqa: F401  (registers what --push_to_hub publishes with)
            from ..training.finetuning.run import DryRun
            from ..training.finetuning.run import finetune as train

            with redirect_stdout(sys.stderr):  # the trainer prints what it logs, and results alone belong on stdout
                done: Any = DryRun(settings, training, devices) if dry_run else train(settings, training, progress)
        except SettingError as error:
            raise UsageError(str(error)) from error
        except (CacheError, TrainingError, ImportError) as error:
            raise CliError(str(error)) from error
        if dry_run:
            _show_plan(done, devices, as_json)
            return
        if as_json:
            result(_row(done))
        else:
            _print(done)
        note(f"model: {done.model}")
        if left_out := done.metrics["rows_left_out"]:
            note(f"error: {left_out} rows of the dataset could not be used and were left out")
            raise typer.Exit(FAILED)


def _show_plan(plan: "DryRun", devices: int, as_json: bool) -> None:
    from ..training.finetuning.presets import as_dicts, table_text

    if as_json:
        result(
            {
                "parameters": as_dicts(plan.table),
                "memory_bytes": plan.memory.to_dict(),
                "devices": devices,
                "cache_embeddings": plan.cache_embeddings,
                "first_batch": plan.batch,
                "supervised_tokens": plan.supervised,
                "first_answer": plan.text,
            }
        )
        return
    print(table_text(plan.table))
    each = " on each of them" if devices > 1 else ""
    print(f"\nestimated memory of {devices} device{'s' * (devices > 1)}{each} (without the CUDA context):")
    for name, value in plan.memory.to_dict().items():
        print(f"  {name:<14}{value / 2**30:>9.3f} GiB")
    if plan.cache_embeddings is None:
        print("\nsounds: the audio encoder hears those of a batch in every step (cache_embeddings is not set)")
    else:
        print(f"\nsounds: the audio encoder hears each of them once; embeddings are kept in {plan.cache_embeddings}")
    print("\nfirst batch:")
    for name, shape in plan.batch.items():
        print(f"  {name:<22}{'x'.join(map(str, shape))}")
    print(f"  tokens with a label: {plan.supervised}; the first answer: {plan.text!r}")


def _row(measured: "EvalResult") -> dict[str, Any]:
    return {
        "model": measured.model,
        "n": measured.n,
        "seed": measured.seed,
        "metrics": measured.metrics,
        "error_bars": measured.error_bars,
    }


def _print(measured: "EvalResult") -> None:
    print(f"{measured.n} held-out questions of {measured.dataset}, same answer:")
    after = measured.metrics["after"]
    for alignment in (name for name in after if name != "audit"):
        for metric, meaning in _ANSWERS.items():
            told = [text for when in ("before", "after") if (text := _share(measured, when, alignment, metric))]
            if metric in after[alignment]:
                print(f"  {alignment + meaning:<38} {', '.join(told)}")
    audits = [measured.metrics[when].get("audit", {}).get("audit_hears") for when in ("before", "after")]
    if None not in audits:
        print(f"  the sound moves {100 * audits[0]:.0f} % of the probability before, {100 * audits[1]:.0f} % after")


def _share(measured: "EvalResult", when: str, alignment: str, metric: str) -> str | None:
    """With its 95 % interval; None where it was not measured, as before a run that was resumed with more sounds."""
    value = measured.metrics[when].get(alignment, {}).get(metric)
    if value is None:
        return None
    low, high = measured.error_bars[when][alignment].get(metric, (value, value))
    return f"{when} {100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


__all__ = ["finetune"]
