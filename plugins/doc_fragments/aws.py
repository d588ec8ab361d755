# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How a lookup reaches AWS: the options that amazon.aws has for its own lookups."""

    DOCUMENTATION = r"""
requirements:
  - The collection amazon.aws, and boto3, where C(ansible-playbook) runs.
options:
  region:
    description: Region. By default that of the environment or of the profile.
    type: str
    aliases: [aws_region]
    env:
      - name: AWS_REGION
  profile:
    description: Profile of the AWS configuration. It excludes keys.
    type: str
    aliases: [aws_profile]
    env:
      - name: AWS_PROFILE
      - name: AWS_DEFAULT_PROFILE
  access_key:
    description: Access key. Without it, boto3 looks for credentials where it always does.
    type: str
    aliases: [aws_access_key_id, aws_access_key]
    env:
      - name: AWS_ACCESS_KEY_ID
      - name: AWS_ACCESS_KEY
  secret_key:
    description: Secret access key.
    type: str
    aliases: [aws_secret_access_key, aws_secret_key]
    env:
      - name: AWS_SECRET_ACCESS_KEY
      - name: AWS_SECRET_KEY
  session_token:
    description: Session token of credentials that are temporary.
    type: str
    aliases: [aws_session_token]
    env:
      - name: AWS_SESSION_TOKEN
  endpoint_url:
    description: Address of what answers as AWS does.
    type: str
    aliases: [aws_endpoint_url]
    env:
      - name: AWS_URL
"""
