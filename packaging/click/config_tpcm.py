"""config tpcm ...: third-party containers, as a plug-in of SONiC's config.

Nothing is decided here: every word after `config tpcm` goes to the tpcm command as it stands, and its output, its
questions and its exit code are the answer.
"""
import os
import sys

import click

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")
VERBS = {
    "install": "Bring a container onto the switch, and keep it there",
    "upgrade": "Replace a container's image; the old one comes back if the new one does not run",
    "uninstall": "Take a container, its service and its image off the switch",
    "rollback": "Go back to the version before the last upgrade",
    "resources": "Change the limits of a container; it goes on running",
    "save": "Save the writable layers now",
    "export": "Write one container as a docker-save archive, or all with their data",
    "import": "Bring back what export --all wrote",
    "prune": "Remove from the store what no container needs",
    "verify": "Check every digest and file of the store",
    "recover": "Finish or undo what was interrupted",
}


class HandedOn(click.Command):
    """A command that becomes `tpcm <verb>` with the words as they were typed: click reads none of them."""

    def parse_args(self, ctx, args):
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx):
        sys.stdout.flush()
        try:
            os.execv(TPCM, ["tpcm", self.name, *ctx.args])
        except OSError as error:
            raise click.ClickException(f"{TPCM} cannot be run: {error.strerror}")


@click.group("tpcm")
def tpcm():
    """Third-party containers"""


for _verb, _text in VERBS.items():
    tpcm.add_command(HandedOn(_verb, help=_text, short_help=_text, add_help_option=False))


def register(cli):
    """Called by SONiC's config with its group of commands."""
    cli.add_command(tpcm)
