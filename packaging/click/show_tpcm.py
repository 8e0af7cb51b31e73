"""show tpcm ...: third-party containers, as a plug-in of SONiC's show.

Nothing is decided here: `show tpcm` is `tpcm list`, `show tpcm <name>` is `tpcm show <name>`; options such as
`-o json` are handed on, and the exit code is tpcm's.
"""
import os
import sys

import click

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")
HANDED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command("tpcm", context_settings=HANDED_ON)
@click.option("-o", "--output", metavar="FORMAT", help="table, wide or json")
@click.argument("name", required=False)
def tpcm(output, name):
    """Third-party containers: all, or everything about one"""
    words = ["tpcm", "show", name] if name else ["tpcm", "list"]
    if output:
        words += ["-o", output]
    sys.stdout.flush()
    try:
        os.execv(TPCM, words)
    except OSError as error:
        raise click.ClickException(f"{TPCM} cannot be run: {error.strerror}")


def register(cli):
    """Called by SONiC's show with its group of commands."""
    cli.add_command(tpcm)
