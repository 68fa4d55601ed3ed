"""The errors of a data set on a Hub."""

from ...hub_access import HubAccessError, explained


class NoManifestError(HubAccessError):
    """A data set on a Hub that `write_shards` did not make.

    Attributes:
        commit: Of the revision that was asked for.
    """

    def __init__(self, message: str, commit: str) -> None:
        super().__init__(message)
        self.commit = commit


__all__ = ["HubAccessError", "NoManifestError", "explained"]
