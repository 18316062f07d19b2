"""What commands that take a pipeline share: their words and their `--param`."""

import click

EXIT_CODES = """\b
Exit codes:
  0    it worked
  1    a step failed, or a check found an error
  2    the request was wrong: unknown target, parameter or option
  130  stopped with Ctrl-C or SIGTERM
"""
TARGET = """\b
TARGET is one of:
  package.module              a module that has one pipeline
  package.module:function     that pipeline of the module
  path/to/file.py[:function]  the same, from a file
"""

parameters = click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline; lists and objects as JSON. May be repeated.",
)
