"""Asking a server that speaks as OpenAI's: requests, limits, a cache of answers, strict JSON."""
