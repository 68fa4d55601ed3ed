"""Readers of AudioCaps, AudioSet, AVE, Ego4D, TVSum, VGGSound, plain folders and any table; nothing is downloaded."""

from .manifest_files import read_manifest, write_manifest
from .readers import audiocaps, audioset, ave, ego4d, folder, tvsum, tvsum_scores, vggsound

__all__ = [
    "audiocaps",
    "audioset",
    "ave",
    "ego4d",
    "folder",
    "read_manifest",
    "tvsum",
    "tvsum_scores",
    "vggsound",
    "write_manifest",
]
