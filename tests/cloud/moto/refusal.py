"""An error with fields of its own, which moto's exceptions do not carry."""

import json


def refused(status, code, message, **more):
    """What an operation returns instead of its answer."""
    return status, {"status": status}, json.dumps({"__type": code, "message": message, **more})
