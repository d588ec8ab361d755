# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes plugins/module_utils/_revisions.py from the migration files of Airflow releases.

    python tests/integration/database/revisions.py WHEEL_OR_SITE_PACKAGES ... > plugins/module_utils/_revisions.py

Give the last 2.x release (its files reach back to 1.5), every 3.x release that is supported, and the providers that
have a migration history of their own. Where two name the same revision, the first one given decides.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

HISTORIES = {
    "alembic_version": "airflow/migrations/versions/",
    "alembic_version_fab": "airflow/providers/fab/migrations/versions/",
    "alembic_version_edge3": "airflow/providers/edge3/migrations/versions/",
}
FILE_NAME = re.compile(r"\d{4}_(\d+)_(\d+)_(\d+)_.*\.py$")
REVISION = re.compile(r"^revision(?:\s*:[^=\n]+)?\s*=\s*[\"'](\w+)", re.M)

HEADER = '''# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.
# Written by tests/integration/database/revisions.py: do not edit.

"""Which version wrote a database revision: of Airflow, or of a provider with a version table of its own."""

from __future__ import annotations

# version table -> version -> its revisions, oldest first
REVISIONS = {
'''

FOOTER = '''}


def version_of(table, revision):
    """The version that brought `revision`, as text; None if this collection does not know it."""
    for version, revisions in REVISIONS.get(table, {}).items():
        if revision in revisions.split():
            return version
    return None
'''


def sources(place):
    """Path inside the package, and text, of each migration file."""
    if place.suffix == ".whl":
        with zipfile.ZipFile(place) as wheel:
            for name in sorted(wheel.namelist()):
                if "/versions/" in name:
                    yield name, wheel.read(name).decode("utf-8")
    else:
        for folder in HISTORIES.values():
            for path in sorted((place / folder).glob("*.py")):
                yield str(path.relative_to(place)), path.read_text(encoding="utf-8")


def main(places):
    found = {table: {} for table in HISTORIES}
    seen = {table: set() for table in HISTORIES}
    for place in places:
        for name, text in sources(Path(place)):
            for table, folder in HISTORIES.items():
                version = FILE_NAME.match(name[len(folder) :]) if name.startswith(folder) else None
                revision = REVISION.search(text)
                if version and revision and revision.group(1) not in seen[table]:
                    seen[table].add(revision.group(1))
                    found[table].setdefault(tuple(int(part) for part in version.groups()), []).append(revision.group(1))
    sys.stdout.write(HEADER)
    for table, versions in found.items():
        sys.stdout.write(f'    "{table}": {{\n')
        for version in sorted(versions):
            revisions = versions[version]
            lines = [" ".join(revisions[start : start + 6]) for start in range(0, len(revisions), 6)]
            number = ".".join(str(part) for part in version)
            label = f'        "{number}": '
            if len(lines) == 1:
                sys.stdout.write(f'{label}"{lines[0]}",\n')
            else:
                lines[:-1] = [line + " " for line in lines[:-1]]
                sys.stdout.write(f"{label}(\n")
                for line in lines:
                    sys.stdout.write(f'            "{line}"\n')
                sys.stdout.write("        ),\n")
        sys.stdout.write("    },\n")
    sys.stdout.write(FOOTER)


if __name__ == "__main__":
    main(sys.argv[1:])
