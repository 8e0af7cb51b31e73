"""A small host of plug-ins, as SONiC's config and show are: finds files in a directory and calls register(cli).

host.py DIRECTORY FILE WORD...
"""
import importlib.util
import sys
from pathlib import Path

import click


@click.group()
def cli():
    """A host"""


def main():
    directory, name, *words = sys.argv[1:]
    spec = importlib.util.spec_from_file_location(name, Path(directory) / f"{name}.py")
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    plugin.register(cli)
    cli(words)


main()
