"""The conditions under which AVE-2's authors let others use their annotations, in our words."""

from __future__ import annotations

UPSTREAM = "ali-vosoughi/ave-2"
CONDITIONS = (
    "The annotations are licensed CC BY 4.0; credit A. Vosoughi et al.",
    "They are meant for research. Cite the AVE-2 papers: AVVA (EUSIPCO 2025, arXiv:2503.09205) and SoundCLIP "
    "(arXiv:2506.10416).",
    "The videos are not part of them. Whoever gets a video does so under that video's own terms.",
    "Whoever passes the annotations on passes on these conditions with them, citations included.",
    "Access to the authors' release is granted by them, to each person who asks.",
    "Captions, scores and source lists were made by machines and not checked by people.",
)
NOTICE = "AVE-2: " + " ".join(CONDITIONS)

__all__ = ["CONDITIONS", "NOTICE", "UPSTREAM"]
