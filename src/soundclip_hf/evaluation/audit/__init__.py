"""The audit: whether a model's answers depend on the sound, and on the right one."""

from .auditing import Audit, AuditReport, AuditSettings, audit
from .soundllava_subject import SoundLlavaSubject
from .subject import AuditSubject, Prompt, Response
from .transformers_subject import TransformersSubject
from .verdict import Fault

__all__ = [
    "Audit",
    "AuditReport",
    "AuditSettings",
    "AuditSubject",
    "Fault",
    "Prompt",
    "Response",
    "SoundLlavaSubject",
    "TransformersSubject",
    "audit",
]
