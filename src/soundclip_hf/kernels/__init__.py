"""Token substitution: the sound replaces the `[CLS]` row, and the patches that do not match it are dropped.

Tensors in, tensors out. Only torch is imported here; Triton is loaded when a CUDA tensor first arrives.
"""

from .substitution import SubstitutionOutput, substitute_tokens

__all__ = ["SubstitutionOutput", "substitute_tokens"]
