#!/usr/bin/env python3
"""Reads terraform/ with python-hcl2, a parser that is not terraform's, and says what terraform does not mind: variables that nobody uses, that
have no type or no description, outputs without a description, what an example does not say of a module that it uses.

In: the folder; pip install python-hcl2. Out: 0 if there is nothing to say. It needs neither terraform nor a provider.
"""

import pathlib
import re
import sys

import hcl2


def blocks(parsed, kind):
    """Blocks of one kind with one label, by that label."""
    return {label.strip('"'): body for block in parsed.get(kind, []) for label, body in block.items() if not label.startswith("__")}


def read(file):
    try:
        return hcl2.loads(file.read_text())
    except Exception as why:  # whatever its grammar raises
        sys.exit(f"{file}: python-hcl2 cannot read it: {why}")


def module(folder):
    """A module's variables and outputs, and what is wrong with them."""
    files = sorted(folder.glob("*.tf"))
    variables, outputs, wrong = {}, {}, []
    for parsed in map(read, files):
        variables |= blocks(parsed, "variable")
        outputs |= blocks(parsed, "output")
    # A variable's own block names it, in its validation.
    text = re.sub(r'(?ms)^variable ".*?^}', "", "\n".join(file.read_text() for file in files))
    used = set(re.findall(r"\bvar\.(\w+)", text))
    wrong += [f"variable {name} is not used" for name in variables.keys() - used]
    wrong += [f"variable {name} is not declared" for name in used - variables.keys()]
    wrong += [f"variable {name} has no {lacks}" for name, body in variables.items() for lacks in ("type", "description") if lacks not in body]
    wrong += [f"output {name} has no description" for name, body in outputs.items() if "description" not in body]
    return variables, [f"{folder}: {what}" for what in wrong]


def calls(folder):
    """What is wrong with the modules that a folder uses."""
    for file in sorted(folder.glob("*.tf")):
        for name, body in blocks(read(file), "module").items():
            variables, _ = module((folder / body["source"].strip('"')).resolve())
            given = {key for key in body if not key.startswith("__")} - {"source"}
            needed = {key for key, of in variables.items() if "default" not in of}
            yield from (f"{file}: module {name} has no variable {key}" for key in given - variables.keys())
            yield from (f"{file}: module {name} needs {key}" for key in needed - given)


def main(root):
    folders = sorted({file.parent for file in root.rglob("*.tf")})
    tests = [read(file) for file in sorted(root.rglob("*.tftest.hcl"))]
    wrong = [what for folder in folders for what in [*module(folder)[1], *calls(folder)]]
    print("\n".join(wrong), end="\n" if wrong else "")
    if not folders or not tests:
        sys.exit(f"{root}: there is nothing to read")
    print(f"{len(folders)} folders and {len(tests)} files of tests, read by python-hcl2: {len(wrong)} to mend")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
