"""Runs the command without its script: `python -m penstock.cli`."""

from .main import main

main()
