"""moto's ECS, EFS and SSM behind a pipe.

Each line on standard input is a request or a test's own command, each line on standard output is its
answer, in order: no port, no threads, and an end with the pipe, so that nothing outlives the test.
What moto leaves out and the product relies on is mended beside this, where its state is; faults of
the network are the proxy's. Knows no operation.
"""

import json
import os
import sys
import traceback

import stand_ins  # noqa: F401, before what imports moto.

import ecs
import efs
from moto.core.request import Request
from moto.ssm.responses import SimpleSystemManagerResponse


def aws(method, path, headers, body):
    """One request of an SDK."""
    target = headers.get("x-amz-target", "")
    if target.startswith("AmazonEC2ContainerService"):
        service = ecs.Ecs
    elif target.startswith("AmazonSSM."):
        service = SimpleSystemManagerResponse
    else:
        service = efs.Efs
    request = Request.from_primitives(method, "http://localhost" + path, headers, body)
    status, headers, body = service.dispatch(request)
    if status < 400:
        return {"status": status, "body": body}
    said = json.loads(body)
    code, message = said["__type"], said.get("message", "")
    # Each service has names of its own for the same.
    said = {"ErrorCode": code, "Message": message, "message": message, **said}
    return {"status": status, "code": code, "body": json.dumps(said)}


COMMANDS = {
    "aws": aws,
    "tasks": ecs.tasks,
    "task": ecs.task,
    "becomes": ecs.becomes,
    "forget": ecs.forget,
    "oblige": ecs.oblige,
    "limit_access_points": efs.limit_access_points,
    "access_point": efs.access_point,
    "file_system": efs.file_system,
}


def main():
    # What a library prints is not an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": COMMANDS[command.pop("do")](**command)}
        except Exception as failed:  # A fault of moto, or of the test: it learns which.
            traceback.print_exc()
            answer = {"failed": f"{type(failed).__name__}: {failed}"}
        ecs.settle()
        print(json.dumps(answer, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
