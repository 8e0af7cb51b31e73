"""config tpcm ...: third-party containers, as a plug-in of SONiC's config.

Nothing is decided here: every word after `config tpcm` goes to the tpcm command as it stands, and its output, its
questions and its exit code are the answer.
"""
import os
import sys

import click

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")
HANDED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
VERBS = {
    "install": "Bring a container onto the switch, and keep it there",
    "upgrade": "Replace a container's image; the old one comes back if the new one does not run",
    "uninstall": "Take a container, its service and its image off the switch",
    "rollback": "Go back to the version before the last upgrade",
    "resources": "Change the limits of a container; it goes on running",
    "prune": "Remove from the store what no container needs",
    "save": "Save the writable layers now",
    "import": "Bring back what show tpcm export wrote",
}


def handed_on(verb, text):
    """A command that becomes `tpcm <verb>` with the same arguments."""

    @click.command(verb, help=text, short_help=text, context_settings=HANDED_ON, add_help_option=False)
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words):
        sys.stdout.flush()
        try:
            os.execv(TPCM, ["tpcm", verb, *words])
        except OSError as error:
            raise click.ClickException(f"{TPCM} cannot be run: {error.strerror}")

    return command


@click.group("tpcm")
def tpcm():
    """Third-party containers"""


for _verb, _text in VERBS.items():
    tpcm.add_command(handed_on(_verb, _text))


def register(cli):
    """Called by SONiC's config with its group of commands."""
    cli.add_command(tpcm)
