"""Commands that start a program with a page or an address: a demo, a Space, a server."""
