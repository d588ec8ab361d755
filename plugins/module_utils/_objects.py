# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What the modules for users, connections, variables and pools have in common: read, compare, change, read again."""

from __future__ import annotations

import inspect
import json

from . import _db_helper, _objects_helper
from ._runner import Runner, RunnerError, stand_in

# What a host or a database that is still to be made answers with.
NOT_YET = ["config", "command", "no_airflow", "no_driver", "resolve", "unreachable", "database", "password", "access"]
DONE = {"create": "created", "update": "updated", "delete": "deleted"}
STATE = dict(type="str", choices=["present", "absent"], default="present")
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class Objects:
    """The declared objects of one kind, and what the database holds of them."""

    # The module's option that lists them, which is also the name of its result; of an element: its name, what can be
    # shown of it, and what cannot.
    option = ""
    key = ""
    fields = ()
    secrets = {}
    helper = None
    # What reading finds where the database is still to be made.
    nothing = {}

    def __init__(self, module):
        self.module = module
        self.params = module.params
        # Ansible hides every declared string, wherever it finds it: a variable of the value "on" would leave nothing
        # of the result. It is for the journal that all of them are no_log, as Ansible hides nothing there that Python
        # writes in another way, such as a line break. The result is made without secrets, and so is what it calls
        # the invocation.
        module.no_log_values.clear()
        self.invocation = dict(module_args=dict(self.params, **{self.option: self.redacted()}))
        stand_in(module)
        self.runner = Runner(self.params["venv"], self.params["home"], self.params["config"], self.params["user"])
        self.declared = [dict(item) for item in self.params[self.option]]
        # What no text that comes from elsewhere may show: a server's may quote what it was given.
        self.hide = []

    def redacted(self):
        hidden = {
            name for name, option in self.module.argument_spec[self.option]["options"].items() if option.get("no_log")
        }
        return [
            {name: HIDDEN if name in hidden and value is not None else value for name, value in item.items()}
            for item in self.params[self.option]
        ]

    # --- what each kind does in its own way

    def check_declaration(self):
        raise NotImplementedError

    def question(self):
        """What the helper has to know to read."""
        raise NotImplementedError

    def existing(self, found):
        """What reading found, by name."""
        raise NotImplementedError

    def creation(self, item):
        raise NotImplementedError

    def update(self, item, before):
        """The change of an object that is there; without any field if none is needed."""
        raise NotImplementedError

    def wire(self, change):
        """A change as the helper wants it."""
        raise NotImplementedError

    def no_table(self):
        """What to do about tables that are missing."""
        raise NotImplementedError

    @staticmethod
    def fold(name):
        """The name as Airflow compares it."""
        return name

    # --- the same for all

    def fail(self, message, **more):
        self.module.fail_json(msg=message, invocation=self.invocation, **more)

    def run(self, request):
        request["library"] = inspect.getsource(_db_helper)
        request["config"] = self.params["config"]
        return self.runner.python(inspect.getsource(self.helper), request, timeout=self.params["timeout"])

    def read(self):
        """What is in the database; nothing where that is still to be made (check mode)."""
        try:
            found = self.run(dict(self.question(), do="read"))
        except RunnerError as error:
            if self.module.check_mode:
                return self.nothing
            self.fail(str(error))
        if "problem" in found:
            if self.module.check_mode and found["problem"] in NOT_YET:
                return self.nothing
            self.fail(
                f"cannot read the {self.option} in the metadata database that {self.params['config']} names:"
                f" {explain(found)}. dataops.airflow.airflow_db says more"
            )
        if not found["tables"]:
            if self.module.check_mode:
                return self.nothing
            self.fail(self.no_table())
        return found

    def plan(self, found):
        """The changes that are needed."""
        existing = {self.fold(name): record for name, record in self.existing(found).items()}
        changes = []
        for item in self.declared:
            before = existing.get(self.fold(item[self.key]))
            if item["state"] == "absent":
                if before is not None:
                    changes.append(dict(action="delete", fields=[], before=before, **{self.key: before[self.key]}))
            elif before is None:
                changes.append(self.creation(item))
            else:
                change = self.update(item, before)
                if change["fields"]:
                    changes.append(change)
        # What is unique is free for another object only when the one that had it is gone.
        return sorted(changes, key=lambda change: change["action"] != "delete")

    def apply(self, changes):
        """Makes the changes, and returns why that did not work."""
        request = dict(do="write", changes=[self.wire(change) for change in changes], hide=self.hide)
        try:
            answer = self.run(dict(self.question(), **request))
        except RunnerError as error:
            self.fail(str(error))
        if "problem" in answer:
            return explain(answer)
        return f"{answer['failed']}: {answer['reason']}" if "failed" in answer else None

    def difference(self, changes):
        """The objects before and after; of a secret only what happens to it."""
        before = {}
        after = {}
        for change in changes:
            name = change[self.key]
            if change["before"] is not None:
                before[name] = {field: change["before"][field] for field in self.fields}
            if change["action"] != "delete":
                after[name] = dict(before.get(name, {}))
                after[name].update((field, change[field]) for field in self.fields if field in change)
                after[name].update(change["marks"])
        return dict(before=before, after=after)

    def work(self):
        """Does all that the module does, and ends it."""
        self.check_declaration()
        changes = self.plan(self.read()) if self.declared else []
        result = {item[self.key]: dict(action="unchanged", fields=[]) for item in self.declared}
        declared_as = {self.fold(name): name for name in result}
        for change in changes:
            done = dict(action=DONE[change["action"]], fields=sorted(change["fields"]))
            result[declared_as[self.fold(change[self.key])]] = done
        if changes and not self.module.check_mode:
            problem = self.apply(changes)
            left = self.plan(self.read())
            # What another run did at the same moment is as good.
            if left:
                reason = problem or (
                    f"the database does not hold what was written: is another run changing the same {self.option}?"
                )
                self.fail(f"{self.option}: {reason}", changed=len(left) < len(changes))
        self.module.exit_json(
            changed=bool(changes),
            diff=self.difference(changes),
            invocation=self.invocation,
            **{self.option: result},
        )


def explain(answer):
    facts = answer.get("facts") or {}
    reason = facts.get("reason") or ", ".join(f"{name} {facts[name]}" for name in sorted(facts))
    return f"{answer['problem']} ({reason})" if reason else answer["problem"]


# --- objects that are rows -------------------------------------------------------------------------------------------


def text(value):
    """The database knows nothing and the empty text, which are the same to Airflow."""
    return value or ""


class Rows(Objects):
    """Objects that are a row of a table each.

    `fields` names what makes a value of the database and a declared one the same, `secrets` the column of each secret
    and the one that says whether it is encrypted.
    """

    helper = _objects_helper
    nothing = dict(rows=[])
    table = ""
    # The column that holds the name, and how long that may be.
    column = ""
    longest = 250
    needed = []
    # What stands for an empty secret in the database.
    empty = None

    def refuse(self, item, reason):
        self.fail(f"{self.option}: {item[self.key]}: {reason}")

    def check_declaration(self):
        names = set()
        for item in self.declared:
            name = item[self.key]
            if not name.strip():
                self.fail(f"{self.option}: a {self.key} is empty")
            if name in names:
                self.fail(f"{self.option}: {name} is listed twice")
            names.add(name)
            if name != name.strip():
                self.refuse(item, "there is white space around the name")
            if len(name) > self.longest:
                self.refuse(item, f"the name has {len(name)} characters, and may have {self.longest}")
            self.check(item)
            if item["state"] == "present":
                self.prepare(item)

    def check(self, item):
        """Refuses an element that cannot be."""

    def prepare(self, item):
        """Makes an element comparable with what is in the database."""

    def secret(self, value, as_json=False):
        """A declared secret, and how it is compared with the one in the database."""
        texts = leaves(json.loads(value)) if as_json else []
        # To hide a text as short as that would hide nothing but the meaning.
        self.hide += [one for one in [value] + texts if len(one) > 3]
        return dict(value=value, json=as_json)

    def no_table(self):
        return f"the metadata database has no table {self.table}: run dataops.airflow.airflow_db first"

    def question(self):
        wanted = {}
        for item in self.declared:
            sought = self.secrets if item["state"] == "present" else []
            wanted[item[self.key]] = {self.secrets[field][0]: item[field] for field in sought}
        return dict(
            table=self.table,
            key=self.column,
            columns=sorted(self.fields),
            secrets=dict(self.secrets.values()),
            wanted=wanted,
        )

    def existing(self, found):
        self.leave_out(found.get("lacking", []))
        records = {}
        for row in found["rows"]:
            record = {field: same(row[field]) for field, same in self.fields.items()}
            record.update((field, row[column]) for field, (column, _flag) in self.secrets.items())
            record[self.key] = row[self.column]
            records[row[self.column]] = record
        return records

    def leave_out(self, lacking):
        """Does without the columns that the release's table does not have."""
        for field in sorted(set(lacking) & set(self.fields)):
            declared = [item[self.key] for item in self.declared if item[field] and item["state"] == "present"]
            if declared:
                self.module.warn(
                    f"{self.option}: this release has no {field}: that of {', '.join(declared)} is left out"
                )
            self.fields = {name: other for name, other in self.fields.items() if name != field}

    def creation(self, item):
        missing = [name for name in self.needed if item[name] is None]
        if missing:
            self.refuse(item, f"it does not exist yet; to create it, declare its {', '.join(missing)}")
        change = dict(action="create", fields=[], before=None, marks={}, **{self.key: item[self.key]})
        change.update((field, same(item[field])) for field, same in self.fields.items())
        for field in self.secrets:
            change[field] = item[field]
            if item[field] is not None and (item[field]["value"] or self.empty is not None):
                change["marks"][field] = "set"
        return change

    def update(self, item, before):
        change = dict(action="update", fields=[], before=before, marks={}, **{self.key: before[self.key]})
        for field, same in self.fields.items():
            if item[field] is not None and same(item[field]) != before[field]:
                change[field] = same(item[field])
                change["fields"].append(field)
        for field in self.secrets:
            if item[field] is not None and before[field] != "same":
                change[field] = item[field]
                change["fields"].append(field)
                removed = not item[field]["value"] and self.empty is None
                change["marks"][field] = "removed" if removed else "set" if before[field] == "empty" else "changed"
        return change

    def wire(self, change):
        values = {field: None if change[field] == "" else change[field] for field in self.fields if field in change}
        for field, (column, _flag) in self.secrets.items():
            if field in change:
                values[column] = change[field] and (change[field]["value"] or self.empty)
        return dict(action=change["action"], id=change[self.key], values=values)


def leaves(value):
    """The texts in a value, at whatever depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, str) else []
