"""Readers of AudioCaps, AudioSet, AVE, Ego4D, TVSum, VGGSound and plain folders; nothing is downloaded."""

from .readers import audiocaps, audioset, ave, ego4d, folder, tvsum, tvsum_scores, vggsound

__all__ = ["audiocaps", "audioset", "ave", "ego4d", "folder", "tvsum", "tvsum_scores", "vggsound"]
