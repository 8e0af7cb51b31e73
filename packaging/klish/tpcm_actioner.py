"""The actioner of tpcm.xml: turns what Klish understood into one call of the tpcm command, without a shell.

Klish calls run(verb, ["key=value", ...]); a value that was not given is empty. Nothing is known here of what tpcm can do:
`word` is an argument, `flag` an option without a value, every other key the option of that name. Klish has no terminal
of tpcm's own to ask at: the tree has tpcm told -y, since an operator confirmed by typing the command, and a password
goes where no list of processes shows it.
"""
import os
import subprocess
import sys

TPCM = os.environ.get("TPCM", "/usr/bin/tpcm")


def call(verb, pairs):
    """The arguments of tpcm for what Klish understood, and what tpcm reads."""
    line, arguments, password = [verb], [], None
    for key, _, value in (pair.partition("=") for pair in pairs):
        if not value:
            continue
        if key == "word":
            arguments.append(value)
        elif key == "flag":
            # Klish hands on the word as it was typed, and takes it in any case.
            line.append(f"--{value.lower()}")
        elif key == "password":
            line.append("--password-stdin")
            password = f"{value}\n"
        elif key == "after":
            line += [f"--after={feature}" for feature in value.split(",") if feature]
        else:
            line.append(f"--{key}={value}")
    # Arguments stand after --, and values after =, so that nothing typed is taken for another option.
    return line + ["--", *arguments], password


def run(verb, pairs):
    """Called by Klish; the result is the exit code."""
    line, password = call(verb, pairs)
    return subprocess.run([TPCM, *line], input=password, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
