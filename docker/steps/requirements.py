"""Print gcnet's dependencies as pinned in a pyproject.toml, with those of its extras.

python requirements.py pyproject.toml [EXTRA...]
"""

import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[2:]]
for part in [project["dependencies"], *extras]:
    print(*part, sep="\n")
