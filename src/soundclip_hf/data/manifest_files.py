"""The earlier place of `soundclip_hf.data.other_sets.read_manifest` and `write_manifest`, for imports written then."""

from .other_sets import read_manifest, write_manifest

__all__ = ["read_manifest", "write_manifest"]
