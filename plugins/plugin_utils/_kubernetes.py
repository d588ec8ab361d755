# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Tasks as pods: what a pod is told of the deployment, and what the gate can see of credentials and template."""

from __future__ import annotations

from urllib.parse import urlsplit

import yaml

from ._deployment import split_secrets
from ._options import only_known, translate, value_of

# Options that are another matter in a pod than on a host.
_NOT_IN_PODS = ("kubernetes", "kubernetes_executor")

# What a kubeconfig may name by a path, and who reads it there.
_FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_CREDENTIALS = (
    "auth-provider",
    "client-certificate",
    "client-certificate-data",
    "exec",
    "token",
    "tokenFile",
    "username",
)


def variable_of(section, option):
    """The environment variable that Airflow reads an option from."""
    return "AIRFLOW__%s__%s" % (section.replace(".", "_").upper(), option.upper())


def pod_environment(release, options, own, environment, secret, changes):
    """The environment that makes a pod run the configuration of `options`, as the template of a pod has it.

    Secrets are named, and read from the Kubernetes secret `secret`: those that the release's tasks need, and those that
    the operator declares in `own`. `changes` has options that differ in a pod.
    """
    public = split_secrets(release, options)[0]
    for section, content in only_known(release, translate(release, changes)).items():
        public.setdefault(section, {}).update(content)
    plain = {
        variable_of(section, option): value
        for section, content in public.items()
        if section not in _NOT_IN_PODS
        for option, value in content.items()
    }
    plain.update(environment)
    needed = {tuple(name.split(".")) for name in release["pods"]["secrets"]}
    needed |= {(section, option) for section, content in split_secrets(release, own)[1].items() for option in content}
    return [
        # Kubernetes puts variables in the place of $(NAME).
        {"name": name, "value": str(value).replace("$(", "$$(")}
        for name, value in sorted(plain.items())
    ] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in sorted(variable_of(*pair) for pair in needed)
    ]


def _named(entries, name):
    """What a kubeconfig keeps under a name; None where there is none."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name:
            return entry
    return None


def _parse(text):
    """The YAML of a text, None where it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def read_kubeconfig(text, context=None):
    """The server that a kubeconfig leads to, and what is wrong with it: (server, what is wrong, what to do).

    Nothing of it is shown but names, as the rest is secret.
    """
    fix = "give the content of a kubeconfig, such as `kubectl config view --flatten --minify` prints"
    found = _parse(text)
    if not isinstance(found, dict) or not found.get("clusters"):
        return "", "it is no kubeconfig", fix
    context = context or found.get("current-context")
    entry = _named(found.get("contexts"), context)
    if not entry:
        return "", "it has no context %s" % (context or "in use"), fix
    place = entry.get("context") or {}
    parts = {}
    for kind in ("cluster", "user"):
        part = _named(found.get(kind + "s"), place.get(kind))
        if not part or not isinstance(part.get(kind), dict):
            return "", "its context %s names a %s that is not in it" % (context, kind), fix
        parts[kind] = part[kind]
    server = str(parts["cluster"].get("server") or "")
    if not urlsplit(server).hostname or not server.startswith("http"):
        return "", "its cluster %s names no server" % place["cluster"], fix
    if not any(parts["user"].get(name) for name in _CREDENTIALS):
        return "", "its user %s has no credentials" % place["user"], fix
    for kind, names in _FILES.items():
        for name in names:
            if parts[kind].get(name) and not str(parts[kind][name]).startswith("/"):
                what = "%s of its %s is no absolute path" % (name, kind)
                return "", what, "put the content into it, with `kubectl config view --flatten`"
    return server, "", ""


def kubernetes_servers(text, context=None):
    """The API server of a kubeconfig, as airflow_preflight asks for it."""
    server = read_kubeconfig(text, context)[0]
    if not server:
        return []
    parts = urlsplit(server)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return [{"host": parts.hostname, "port": port, "variable": "airflow_kubernetes_kubeconfig"}]


def _template_problem(text, image):
    """What is wrong with the template of pods: (variable, what is wrong, what to do)."""
    variable = "airflow_kubernetes_pod_template"
    found = _parse(text)
    if not isinstance(found, dict) or found.get("kind") != "Pod" or found.get("apiVersion") != "v1":
        return [(variable, "it is no pod", "write the YAML of one: apiVersion v1, kind Pod")]
    containers = (found.get("spec") or {}).get("containers")
    first = containers[0] if isinstance(containers, list) and containers else None
    if not isinstance(first, dict) or first.get("name") != "base":
        fix = "call the container that runs the task base, and make it the first"
        return [(variable, "its first container is not called base", fix)]
    if not image and not first.get("image"):
        what = "it is missing, and pods need an image with Airflow and the DAGs"
        return [("airflow_kubernetes_image", what, "name one, with its tag: registry.example.com/airflow:1")]
    return []


def kubernetes_problems(declared, release):
    """What the inventory shows to be wrong with tasks as pods."""
    kubernetes = declared["kubernetes"]
    if not kubernetes:
        return []
    found = []
    variable = "airflow_kubernetes_kubeconfig"
    if not kubernetes["kubeconfig"].strip():
        found.append((variable, "it is missing", "give the content of a kubeconfig, from the vault"))
    else:
        context = value_of(release, declared["options"], "kubernetes_executor", "cluster_context")
        _server, what, fix = read_kubeconfig(kubernetes["kubeconfig"], context)
        if what:
            found.append((variable, what, fix))
    image = kubernetes["image"]
    if image and ":" not in image.rsplit("/", 1)[-1]:
        found.append(("airflow_kubernetes_image", "%s has no tag" % image, "write it with its tag: %s:1" % image))
    found += _template_problem(kubernetes["pod_template"], image)
    if release["tasks_ask_api"]:
        found += _api_problem(kubernetes["execution_api_url"])
    return found


def _api_problem(url):
    variable = "airflow_kubernetes_execution_api_url"
    fix = "give the address of a load balancer before the masters: http://airflow.example.com:8080/execution/"
    if not url:
        return [(variable, "it is missing, and tasks in pods ask an API server", fix)]
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host or "://" not in url:
        return [(variable, "it is not an URL", fix)]
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return [(variable, "%s is the pod itself" % host, fix)]
    return []


def kubernetes_advice(release, options):
    """What works, and not as it looks."""
    if str(value_of(release, options, "logging", "remote_logging")).lower() in ("true", "t", "1"):
        return []
    return [
        "airflow_options.logging.remote_logging: a pod takes its task's log with it when it goes: have logs written to "
        "remote storage"
    ]
