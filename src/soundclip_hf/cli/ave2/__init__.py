"""`soundclip ave2 …`: cut, judge, check and count audio-visual data sets."""

import typer

from .asking import annotate, judge
from .building import build, shard, subset
from .looking import stats, verify, view
from .making import segment
from .publishing import push
from .rating import agreement, sample
from .sets import coverage

ave2 = typer.Typer(help="Audio-visual data sets in AVE-2's form: cut, judge, check, count.", no_args_is_help=True)
ave2.command()(segment)
ave2.command()(annotate)
ave2.command()(judge)
ave2.command()(subset)
ave2.command()(shard)
ave2.command()(build)
ave2.command()(stats)
ave2.command()(sample)
ave2.command()(agreement)
ave2.command()(verify)
ave2.command()(view)
ave2.command()(push)
ave2.command()(coverage)

__all__ = ["ave2"]
