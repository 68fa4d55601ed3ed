"""Our models inside other packages: sentence-transformers, mteb, lmms-eval and vLLM."""
