"""Commands that measure models, and compare what was measured with the paper."""

import typer

from .agreement import agreement
from .generation import generation
from .geometry import geometry
from .judge import judge
from .overlay import overlay
from .plot import plot
from .retrieval import retrieval
from .suite import report, suite

evaluate = typer.Typer(help="Measure what a model hears, retrieves and says.", no_args_is_help=True)
evaluate.command()(retrieval)
evaluate.command()(generation)
evaluate.command()(geometry)
evaluate.command()(judge)
evaluate.command()(agreement)
evaluate.command(no_args_is_help=False)(overlay)
evaluate.command()(plot)
evaluate.command()(suite)
evaluate.command()(report)

__all__ = ["evaluate"]
