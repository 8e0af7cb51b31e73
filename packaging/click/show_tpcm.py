"""show tpcm ...: third-party containers, as a plug-in of SONiC's show.

Nothing is decided here: `show tpcm` is `tpcm list`, `show tpcm <name>` is `tpcm show <name>`; options are handed on, and
the exit code is tpcm's.
"""
import os
import sys

import click

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")


@click.command("tpcm")
@click.option("-o", "--output", metavar="FORMAT", help="table, wide or json")
@click.option("--no-wait", is_flag=True, help="Do not wait for another tpcm that is at work")
@click.argument("name", required=False)
def tpcm(output, no_wait, name):
    """Third-party containers: all, or everything about one"""
    words = ["tpcm", "show", name] if name else ["tpcm", "list"]
    if output:
        words += ["-o", output]
    if no_wait:
        words.append("--no-wait")
    # The store is root's alone; SONiC's other show commands do the same where they need more than the operator may.
    program = TPCM
    if os.geteuid() != 0:
        program, words = "/usr/bin/sudo", ["sudo", TPCM, *words[1:]]
    sys.stdout.flush()
    try:
        os.execv(program, words)
    except OSError as error:
        raise click.ClickException(f"{program} cannot be run: {error.strerror}")


def register(cli):
    """Called by SONiC's show with its group of commands."""
    cli.add_command(tpcm)
