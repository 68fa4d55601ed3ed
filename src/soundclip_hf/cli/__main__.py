"""`python -m soundclip_hf.cli`."""

from . import main

main()
