"""Requests to a server with OpenAI's chat completions API: limits, a cache of answers, and strict JSON."""
