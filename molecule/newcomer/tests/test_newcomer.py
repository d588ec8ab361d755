# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README, followed to the letter: its commands are taken from its text."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONTROLLER = "airflow-newcomer-controller"
HOSTS = ["h1", "h2", "h3"]
UNCHANGED = dict.fromkeys(HOSTS, (0, True))
HOME = "/home/newcomer"
CHECKOUT = f"{HOME}/checkout"
PASSWORD = "the vault's own password"


def commands(title, prompt):
    """What the README says to type after a prompt, in the blocks of one section."""
    section = re.search(rf"^### {title}\n(.*?)^##", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.M | re.S)
    found = [line[2:] for block in blocks for line in block.splitlines() if line.startswith(prompt + " ")]
    assert found, f"{title} has no command after the prompt {prompt}"
    return found


def at_the_terminal(lines, directory=CHECKOUT, user="newcomer", code=0):
    """What a terminal shows of commands typed into one shell, and of the vault's password when it is asked for."""
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["docker", "exec", "-it", "-u", user, "-w", directory, CONTROLLER, "bash", "-exc", "\n".join(lines)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, read = "", 0
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what a terminal says when its last program is gone
            break
        if not part:
            break
        shown += part.decode(errors="replace")
        if re.search(r"password[^\n]*: ?$", shown[read:], re.IGNORECASE):
            os.write(ours, f"{PASSWORD}\n".encode())
            read = len(shown)
    os.close(ours)
    ended = shell.wait()
    shown = re.sub(r"\x1b\[[0-9;]*m|\r", "", shown)
    print(shown)
    assert ended == code
    return shown


def deploy(*options):
    """The README's command that deploys, with further options."""
    plain = next(line for line in commands("Your own hosts", "$") if "site.yml" in line and "--check" not in line)
    return [". .venv/bin/activate", " ".join([plain, *options])]


def recaps(shown):
    """What each playbook tells of its hosts in the end: tasks that changed something, and whether all went well."""
    return [
        {
            host: (int(changed), (unreachable, failed) == ("0", "0"))
            for host, changed, unreachable, failed in re.findall(
                r"^(\w+) +: .*?changed=(\d+) +unreachable=(\d+) +failed=(\d+)", recap, re.M
            )
        }
        for recap in shown.split("PLAY RECAP")[1:]
    ]


@pytest.fixture(scope="module")
def cluster():
    """Where the README's own section ends."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.split(b"\0")
    files = b"\0".join(name for name in files if name and os.path.lexists(os.path.join(os.fsencode(ROOT), name)))
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from", "-"], cwd=ROOT, input=files, check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["docker", "exec", "-u", "newcomer", CONTROLLER, "mkdir", CHECKOUT], check=True)
    subprocess.run(
        ["docker", "exec", "-i", "-u", "newcomer", CONTROLLER, "tar", "--extract", "--directory", CHECKOUT],
        input=packed,
        check=True,
    )
    editor = pathlib.Path(__file__).resolve().parents[1] / "editor"
    subprocess.run(["docker", "cp", str(editor), f"{CONTROLLER}:/usr/local/bin/editor"], check=True)

    at_the_terminal(commands("Your own hosts", "#"), user="root")
    # Nobody deploys to hosts without having been there once.
    at_the_terminal(f"ssh -o StrictHostKeyChecking=accept-new admin@{host} sudo -n true" for host in HOSTS)
    return at_the_terminal(commands("Your own hosts", "$"))


def test_readme_leads_to_a_cluster(cluster):
    promised, deployed, verified = recaps(cluster)
    for recap in (promised, deployed, verified):
        assert sorted(recap) == HOSTS
        assert all(well for changed, well in recap.values())
    assert promised == deployed


def watched():
    """What the host in the group of monitors watches: job, host, and whether it answers."""
    url = "http://127.0.0.1:9090/api/v1/query?query=up"
    program = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
    answer = subprocess.check_output(["docker", "exec", "airflow-newcomer-h1", "python3", "-c", program])
    series = json.loads(answer)["data"]["result"]
    return {(one["metric"]["job"], one["metric"]["instance"], one["value"][1]) for one in series}


def test_host_in_the_group_of_monitors_watches_all(cluster):
    wanted = {("airflow", "h1", "1"), *(("node", host, "1") for host in HOSTS)}
    deadline = time.monotonic() + 60
    while not wanted <= (found := watched()) and time.monotonic() < deadline:
        time.sleep(1)
    assert wanted <= found
    assert [one for one in found if one[2] != "1"] == []


def test_vault_is_encrypted(cluster):
    shown = at_the_terminal(["head -n 1 inventories/mine/group_vars/all/vault.yml"])
    assert "$ANSIBLE_VAULT;" in shown


def test_second_run_changes_nothing(cluster):
    assert recaps(at_the_terminal(deploy())) == [UNCHANGED]


def test_user_who_does_not_become_root_is_refused(cluster):
    shown = at_the_terminal(deploy("-e", "ansible_become=false"), code=2)
    assert "['every host: ansible_become: the user admin is not root, and does not become it: " in shown


def test_installed_collection_finds_nothing_to_do(cluster):
    *install, run = commands("From an installed collection", "$")
    at_the_terminal([". .venv/bin/activate", *install])
    away = f"{HOME}/away"
    at_the_terminal([f"mkdir {away}", f"cp -r inventories {away}"])
    shown = at_the_terminal([f". {CHECKOUT}/.venv/bin/activate", f"{run} --check"], directory=away)
    assert recaps(shown) == [UNCHANGED]
