# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as its users get it: from a checkout, and from a build."""

from __future__ import annotations

import json
import pathlib
import tarfile

import pytest
from controller import run

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))

# All that content reached by its full name may read, and what describes it.
SHIPPED = {
    "CHANGELOG.rst",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    place = tmp_path_factory.mktemp("build")
    built = run("ansible-galaxy", "collection", "build", "--output-path", str(place), cwd=ROOT)
    assert built.returncode == 0, built.stdout
    (path,) = place.glob("dataops-airflow-*.tar.gz")
    return path


@pytest.fixture(scope="module")
def installed(artefact, tmp_path_factory):
    place = tmp_path_factory.mktemp("collections")
    done = run(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--collections-path",
        str(place),
        str(artefact),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    return place


def test_artefact_holds_what_users_need_and_no_more(artefact):
    with tarfile.open(artefact) as archive:
        members = archive.getmembers()
    assert {member.name.split("/")[0] for member in members} <= SHIPPED
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert not [member.name for member in members if "secrets/" in member.name or "__pycache__" in member.name]
    assert sum(member.size for member in members) < 20_000_000


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbooks_run_by_name_from_an_installed_build(installed, playbook, tmp_path):
    checked = run(
        "ansible-playbook",
        f"dataops.airflow.{playbook}",
        "--syntax-check",
        "-i",
        str(installed / "ansible_collections/dataops/airflow/inventories/demo"),
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("playbook", ["site.yml"] + [f"playbooks/{name}.yml" for name in PLAYBOOKS])
def test_playbooks_run_by_path_from_a_checkout(playbook):
    checked = run("ansible-playbook", playbook, "--syntax-check", "-i", "inventories/demo", cwd=ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("inventory", sorted(path.name for path in (ROOT / "inventories").iterdir()))
def test_inventories_parse(inventory, aws):
    listed = run("ansible-inventory", "-i", f"inventories/{inventory}", "--list", cwd=ROOT)
    assert listed.returncode == 0, listed.stdout
    # amazon.aws has warnings of its own, which depend on its version.
    assert inventory == "aws" or "[WARNING]" not in listed.stdout, listed.stdout


def test_instances_of_ec2_are_grouped_by_their_tag(aws):
    ec2 = aws("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    addresses = {}
    for value in ("master", "worker", "master worker", "", None):
        tags = [] if value is None else [{"Key": "airflow", "Value": value}]
        specifications = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "a"}, *tags]}]
        made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=specifications)["Instances"][
            0
        ]
        addresses[value] = made["PrivateDnsName"]
    stopped = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "airflow", "Value": "worker"}]}],
    )["Instances"][0]
    ec2.stop_instances(InstanceIds=[stopped["InstanceId"]])
    listed = run("ansible-inventory", "-i", "inventories/aws", "--list", cwd=ROOT)
    assert listed.returncode == 0, listed.stdout
    found = json.loads(listed.stdout[listed.stdout.index("\n{\n") :])
    assert set(found["master"]["hosts"]) == {addresses["master"], addresses["master worker"]}
    assert set(found["worker"]["hosts"]) == {addresses["worker"], addresses["master worker"]}
    host = found["_meta"]["hostvars"][addresses["worker"]]
    assert host["ansible_host"] == host["private_ip_address"]
    assert host["airflow_rds_instance"] == "airflow"
    assert host["airflow_service_worker_autoscale"] == "16,12"
