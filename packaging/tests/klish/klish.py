"""Types every command of a Klish tree as a small Klish would: bare, and with each optional parameter by itself.

klish.py TREE ACTIONER: a line of JSON for each, the arguments that the actioner forms. Fails if the tree is not
well-formed, if a command ends nowhere, or if an action names what is no parameter of its command.
"""
import importlib.util
import itertools
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

SPACE = "{http://www.dellemc.com/sonic/XMLSchema}"
SAMPLES = ("monitor", "20%", "256", "256M", "a" * 64)
REFERENCE = re.compile(r"\$\{([^}]*)\}")


def values(kind):
    """What may be typed for a kind of word: every choice of a selection, otherwise one sample."""
    pattern = kind.get("pattern")
    if kind.get("method") == "select":
        return re.findall(r"\w+\((\w+)\)", pattern)
    return [next(sample for sample in SAMPLES if re.fullmatch(pattern, sample))]


def typed(param, kinds):
    """The ways to type a parameter and what belongs to it, each as a dictionary of names and values."""
    own = [param.get("name")] if param.get("mode") == "subcommand" else values(kinds[param.get("ptype")])
    inner = ways(param.findall(f"{SPACE}PARAM"), kinds)
    return [{param.get("name"): value, **rest} for value in own for rest in inner]


def ways(params, kinds):
    """All that is required, and then with each optional one."""
    required = [typed(param, kinds) for param in params if param.get("optional") != "true"]
    plain = [dict(pair for part in parts for pair in part.items()) for parts in itertools.product(*required)]
    optional = [way for param in params if param.get("optional") == "true" for way in typed(param, kinds)]
    return plain + [{**plain[0], **way} for way in optional]


def main():
    tree, actioner = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("actioner", actioner)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = ElementTree.parse(tree).getroot()
    kinds = {kind.get("name"): kind for kind in root.iter(f"{SPACE}PTYPE")}
    commands = list(root.iter(f"{SPACE}COMMAND"))
    for command in commands:
        action = command.findtext(f"{SPACE}ACTION")
        if action is None:
            prefix = command.get("name") + " "
            assert any(other.get("name").startswith(prefix) for other in commands), command.get("name")
            continue
        known = {param.get("name") for param in command.iter(f"{SPACE}PARAM")}
        assert set(REFERENCE.findall(action)) <= known, action
        program, verb, *pairs = action.split()
        assert program == "tpcm_actioner", action
        for way in ways(command.findall(f"{SPACE}PARAM"), kinds):
            told = [REFERENCE.sub(lambda found: way.get(found[1], ""), pair) for pair in pairs]
            print(json.dumps(module.call(verb, told)[0]))


main()
