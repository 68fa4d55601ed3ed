"""A whole AVE-2 from long videos: stages over shards, on this machine or on a cluster; it resumes after any kill."""

from .local import Progress, build, prepare, run_stage

__all__ = ["Progress", "build", "prepare", "run_stage"]
