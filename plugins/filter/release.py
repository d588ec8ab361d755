# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ..module_utils._releases import UnknownRelease, release
from ..plugin_utils._deployment import build, digest, merge


def release_filter(version):
    """The facts of an Airflow version."""
    try:
        return release(version)
    except UnknownRelease as error:
        raise AnsibleFilterError("airflow_version: %s" % error) from error


class FilterModule:
    """The collection's filters."""

    def filters(self):
        return {
            "release": release_filter,
            "digest": digest,
            "merge_options": merge,
            "deployment": build,
        }
