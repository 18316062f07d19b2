"""`python -m penstock` is the command `penstock`."""

from .cli.main import main

main()
