"""The actioner of tpcm.xml: turns what Klish understood into one call of the tpcm command, without a shell.

Klish calls run(verb, ["key=value", ...]); a value that was not given is empty. Klish has no terminal of tpcm's own to
ask at, so the questions are answered by -y: an operator confirmed by typing the command.
"""
import os
import subprocess
import sys

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")
OPTIONS = ("protocol", "server", "username", "args", "cpu", "memory", "disk")
FLAGS = {"skip-data": "--skip_data", "purge": "--purge"}
VERBS = ("install", "upgrade", "uninstall", "rollback", "resources")


def words(verb, pairs):
    """The arguments of tpcm for what Klish understood."""
    given = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    given = {key: value for key, value in given.items() if value}
    if verb == "show":
        return ["show", given["name"]] if "name" in given else ["list"]
    if verb not in VERBS:
        raise ValueError(f"tpcm has no {verb}")
    # As --option=value, and names after --, so that nothing typed is taken for another option.
    line = [verb, "-y"]
    line += [f"--{option}={given[option]}" for option in OPTIONS if option in given]
    if "flag" in given:
        line.append(FLAGS[given["flag"]])
    return line + ["--"] + [given[key] for key in ("name", "source") if key in given]


def run(verb, pairs):
    """Called by Klish; the result is the exit code."""
    return subprocess.call([TPCM, *words(verb, pairs)])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
