"""`soundclip serve`: transformers' own server, which answers OpenAI-style chat requests about pictures and sounds."""
