"""Whether IAM would say yes: policies, read as IAM reads them. Knows as much of IAM as the deployment's policies
use, refuses what it does not know, and asks nobody.

A request is allowed where a policy of its own side allows it, where every boundary that it passes allows it, and
where no policy at all denies it.
"""

import json
import re


class Policy:
    """One policy document. A policy that belongs to a resource names principals; one of a role does not."""

    def __init__(self, text):
        document = json.loads(text)
        assert document["Version"] == "2012-10-17", document["Version"]
        self.statements = listed(document["Statement"])

    def decides(self, action, resource, context):
        """`"Deny"`, `"Allow"`, or `None` where no statement speaks of it."""
        effects = {
            statement["Effect"]
            for statement in self.statements
            if speaks_of(statement, action, resource, context)
        }
        return "Deny" if "Deny" in effects else "Allow" if effects else None

    def allowed_actions(self):
        return {
            action
            for statement in self.statements
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
        }


def is_allowed(action, resource, context, own, others=(), boundaries=()):
    """`own` are the caller's role's policies, `others` the resource's, of which either may allow it; of the
    `boundaries` (an endpoint on the way) each has to."""
    own, others = list(own), list(others)
    said = [policy.decides(action, resource, context) for policy in own + others]
    passed = [policy.decides(action, resource, context) for policy in boundaries]
    return "Deny" not in said + passed and "Allow" in said and all(one == "Allow" for one in passed)


def listed(value):
    return value if isinstance(value, list) else [value]


def matches(pattern, text, ignoring_case=False):
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.IGNORECASE if ignoring_case else 0) is not None


def speaks_of(statement, action, resource, context):
    known = {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}
    assert set(statement) <= known, f"a statement that is not understood: {statement}"
    return (
        any(matches(pattern, action, ignoring_case=True) for pattern in listed(statement["Action"]))
        and any(matches(pattern, resource) for pattern in listed(statement.get("Resource", "*")))
        and is_principal(statement.get("Principal"), context)
        and all(
            holds(test, key, listed(values), context)
            for test, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def is_principal(principal, context):
    if principal is None or principal == "*":
        return True
    ((kind, names),) = principal.items()
    key = {"AWS": "aws:PrincipalArn", "Service": "aws:PrincipalServiceName"}[kind]
    caller = context.get(key)
    return caller is not None and any(name in ("*", caller) for name in listed(names))


def holds(test, key, values, context):
    if test == "Null":
        return (key not in context) == (values == ["true"])
    if test.endswith("IfExists"):
        return key not in context or holds(test.removesuffix("IfExists"), key, values, context)
    value = context.get(key)
    if test in ("ArnNotEquals", "StringNotEquals"):
        # As IAM has it: a key that is not there is not equal.
        return value is None or not any(matches(pattern, value) for pattern in values)
    if value is None:
        return False
    if test in ("StringEquals", "Bool"):
        return value in values
    if test in ("StringLike", "ArnLike", "ArnEquals"):
        return any(matches(pattern, value) for pattern in values)
    raise AssertionError(f"a condition that is not understood: {test}")
