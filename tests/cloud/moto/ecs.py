"""ECS, as moto has it and as the product relies on it: client tokens, pages, failures, and tasks whose
life a test drives. Knows no pipe.
"""

import json
import re
from datetime import datetime, timezone
from types import SimpleNamespace
from uuid import uuid4

from moto.core.responses import ActionResult
from moto.ecs import models
from moto.ecs.exceptions import EcsClientException, InvalidParameterException
from moto.ecs.responses import DESCRIBE_TASKS_TAGS, EC2ContainerServiceResponse
from refusal import refused

# How many tasks or definitions one answer lists, and DescribeTasks takes.
PAGE = 100

# What Fargate has, in CPU units and MiB.
FARGATE = {
    256: [512, 1024, 2048],
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}

# What a test sees of a definition: ECS's names, and moto's.
DEFINITION = {
    "family": "family",
    "revision": "revision",
    "status": "status",
    "cpu": "cpu",
    "memory": "memory",
    "containerDefinitions": "container_definitions",
    "volumes": "volumes",
    "networkMode": "network_mode",
    "requiresCompatibilities": "requires_compatibilities",
    "runtimePlatform": "runtime_platform",
    "ephemeralStorage": "ephemeral_storage",
    "taskRoleArn": "task_role_arn",
    "executionRoleArn": "execution_role_arn",
}

# Whether tasks run as soon as they are asked for and stop as soon as they are told to, after the
# answer. Else a test says what becomes of each.
obliging = False

# Tasks that were asked for or told to stop by what is being answered.
touched = []

# Client tokens of RunTask: the request each came with, and the tasks it started.
tokens = {}

# Tasks in the order in which they were started, over all clusters and regions.
started = []


def now():
    return datetime.now(timezone.utc)


class Container(models.Container):
    # moto takes the service from it.
    __module__ = models.__name__

    def __init__(self, definition, container):
        super().__init__(SimpleNamespace(arn=definition.arn, container_definitions=[container]))
        self.exitCode = None
        self.reason = None
        self.health_status = "UNKNOWN"


class Task(models.Task):
    """A task whose status changes only when it is told to."""

    __module__ = models.__name__

    last_status = None

    def __init__(self, cluster, task_definition, *args, **kwargs):
        super().__init__(cluster, task_definition, *args, **kwargs)
        self.id = uuid4().hex
        self.definition = task_definition
        self.cpu, self.memory = task_definition.cpu, task_definition.memory
        self.launch_type = "FARGATE"
        containers = task_definition.container_definitions
        self.containers = [Container(task_definition, container) for container in containers]
        for container in self.containers:
            container.task_arn = self.task_arn
        self.created_at = now()
        self.started_at = self.stopping_at = self.stopped_at = None
        self.stop_code = self.stopped_reason = self.connectivity = None
        self.address = None
        self.becomes("PROVISIONING")

    def becomes(
        self,
        status,
        address=None,
        stop_code=None,
        reason=None,
        exit_code=None,
        container_reason=None,
    ):
        self.last_status = status
        self.address = address or self.address
        if status == "RUNNING":
            self.started_at = self.started_at or now()
            self.connectivity = "CONNECTED"
        if status == "STOPPED":
            self.desired_status = "STOPPED"
            self.stopped_at = self.stopped_at or now()
            self.stop_code = stop_code or self.stop_code or "EssentialContainerExited"
            reason = reason or self.stopped_reason
            self.stopped_reason = reason or "Essential container in task exited"
        for container in self.containers:
            container.last_status = status if status in ("RUNNING", "STOPPED") else "PENDING"
            container.exitCode = exit_code
            container.reason = container_reason
        for interface in self.attachments:
            known = [d for d in interface["details"] if d["name"] != "privateIPv4Address"]
            if self.address:
                known.append({"name": "privateIPv4Address", "value": self.address})
            interface["details"] = known
            attached = "ATTACHED" if self.address else "PRECREATED"
            interface["status"] = "DELETED" if status == "STOPPED" else attached

    def stops(self, reason):
        if self.last_status != "STOPPED" and self.desired_status != "STOPPED":
            self.desired_status = "STOPPED"
            self.stopping_at = now()
            self.stop_code = "UserInitiated"
            self.stopped_reason = reason or "Task stopped by user"

    def obliges(self):
        if self.last_status == "STOPPED":
            return
        if self.desired_status == "STOPPED":
            self.becomes("STOPPED", exit_code=143)
        elif self.last_status != "RUNNING":
            self.becomes("RUNNING", address="127.0.0.1")

    def shown(self):
        """As a test sees it."""
        definition = self.definition
        return {
            "arn": self.task_arn,
            "cluster": self.cluster_arn,
            "status": self.last_status,
            "desired_status": self.desired_status,
            "started_by": self.started_by,
            "address": self.address,
            "capacity_provider": self.capacity_provider_name,
            "stop_code": self.stop_code,
            "stopped_reason": self.stopped_reason,
            "tags": {tag["key"]: tag.get("value", "") for tag in self.tags},
            "network": self.network_configuration["awsvpcConfiguration"],
            "overrides": self.overrides,
            "definition": {
                "taskDefinitionArn": definition.arn,
                **{name: getattr(definition, of, None) for name, of in DEFINITION.items()},
                "tags": {tag["key"]: tag.get("value", "") for tag in definition.tags},
            },
        }


class Backend(models.EC2ContainerServiceBackend):
    """moto's ECS, without its room for machines of one's own, and with inactive definitions."""

    __module__ = models.__name__

    _calculate_task_resource_requirements = staticmethod(lambda _definition: {})

    def active(self, reference):
        """The definition that RunTask takes: of a family without a revision, the newest active one."""
        name = reference.split("/")[-1]
        if ":" in name:
            found = self.describe_task_definition(reference)
            if found.status != "ACTIVE":
                raise EcsClientException("TaskDefinition is inactive")
            return found
        revisions = self.task_definitions.get(name, {}).values()
        actives = [definition for definition in revisions if definition.status == "ACTIVE"]
        if not actives:
            raise EcsClientException("TaskDefinition not found.")
        return max(actives, key=lambda definition: definition.revision)


models.Task = Task
models.ecs_backends.backend = Backend


class Ecs(EC2ContainerServiceResponse):
    """The operations that moto answers otherwise than ECS does."""

    def page(self, items):
        size = min(self._get_int_param("maxResults", PAGE), PAGE)
        at = int(self._get_param("nextToken") or 0)
        following = str(at + size) if at + size < len(items) else None
        return items[at : at + size], following

    def cluster(self):
        return self.ecs_backend._get_cluster(self._get_param("cluster", "default"))

    def tasks(self):
        return self.ecs_backend.tasks.get(self.cluster().name, {})

    def arn(self, reference):
        """Of a task, which may be named by its ARN or its id."""
        prefix = self.cluster().arn.replace(":cluster/", ":task/")
        return reference if ":" in reference else f"{prefix}/{reference}"

    def register_task_definition(self):
        family = self._get_param("family") or ""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", family):
            raise EcsClientException("Family contains invalid characters or is too long.")
        if "FARGATE" in (self._get_param("requiresCompatibilities") or []):
            cpu, memory = self._get_param("cpu"), self._get_param("memory")
            if not cpu or not memory or int(memory) not in FARGATE.get(int(cpu), []):
                raise EcsClientException(
                    f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
                )
        answer = super().register_task_definition()
        definition = answer.result["taskDefinition"]
        definition.registered_at = now()
        return ActionResult({**answer.result, "tags": definition.tags})

    def describe_task_definition(self):
        reference = self._get_param("taskDefinition")
        if ":" in reference.split("/")[-1]:
            definition = self.ecs_backend.describe_task_definition(reference)
        else:
            try:
                definition = self.ecs_backend.active(reference)
            except EcsClientException:
                raise EcsClientException("Unable to describe task definition.") from None
        tags = definition.tags if "TAGS" in self._get_param("include", []) else []
        return ActionResult({"taskDefinition": definition, "tags": tags})

    def list_task_definitions(self):
        arns = super().list_task_definitions().result["taskDefinitionArns"]
        arns.sort(key=lambda arn: (arn.rsplit(":", 1)[0], int(arn.rsplit(":", 1)[1])))
        if self._get_param("sort") == "DESC":
            arns.reverse()
        found, following = self.page(arns)
        return ActionResult({"taskDefinitionArns": found, "nextToken": following})

    def list_task_definition_families(self):
        prefix, status = self._get_param("familyPrefix") or "", self._get_param("status", "ACTIVE")
        families = []
        for family, revisions in sorted(self.ecs_backend.task_definitions.items()):
            active = any(definition.status == "ACTIVE" for definition in revisions.values())
            if family.startswith(prefix) and status in ("ALL", "ACTIVE" if active else "INACTIVE"):
                families.append(family)
        found, following = self.page(families)
        return ActionResult({"families": found, "nextToken": following})

    def run_task(self):
        request = json.loads(self.body)
        token = request.get("clientToken")
        if len(token or "") > 64:
            raise InvalidParameterException("clientToken must be at most 64 characters.")
        if not re.fullmatch(r"[A-Za-z0-9/_-]{0,128}", request.get("startedBy", "")):
            raise InvalidParameterException("startedBy has invalid characters or is too long.")
        if len(json.dumps(request.get("overrides", {}), separators=(",", ":"))) > 8192:
            raise InvalidParameterException("Overrides may have at most 8192 characters.")
        key = (self.cluster().arn, token)
        if token and key in tokens:
            earlier, tasks = tokens[key]
            if earlier == request:
                return ActionResult({"tasks": tasks, "failures": []})
            return refused(
                400,
                "ConflictException",
                "The provided clientToken is already in use with a different RunTask request.",
                resourceIds=[task.task_arn for task in tasks],
            )
        definition = self.ecs_backend.active(self._get_param("taskDefinition"))
        self.params["taskDefinition"] = definition.arn
        network = (self._get_param("networkConfiguration") or {}).get("awsvpcConfiguration")
        if network is not None:
            network.setdefault("securityGroups", [])
        answer = super().run_task()
        started.extend(answer.result["tasks"])
        touched.extend(answer.result["tasks"])
        if token:
            tokens[key] = (request, answer.result["tasks"])
        return answer

    def describe_tasks(self):
        references = self._get_param("tasks", [])
        if not 1 <= len(references) <= PAGE:
            raise InvalidParameterException("Tasks must have 1 to 100 items.")
        arns = [self.arn(reference) for reference in references]
        known = self.tasks()
        tasks = [known[arn] for arn in arns if arn in known]
        failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]
        if "TAGS" in self._get_param("include", []):
            self._include_in_response(DESCRIBE_TASKS_TAGS)
        else:
            self._exclude_from_response(DESCRIBE_TASKS_TAGS)
        return ActionResult({"tasks": tasks, "failures": failures})

    def list_tasks(self):
        status = self._get_param("desiredStatus", "RUNNING")
        family, by = self._get_param("family"), self._get_param("startedBy")
        arns = [
            arn
            for arn, task in self.tasks().items()
            if task.desired_status == status
            and (not family or task.definition.family == family)
            and (not by or task.started_by == by)
        ]
        found, following = self.page(arns)
        return ActionResult({"taskArns": found, "nextToken": following})

    def stop_task(self):
        task = self.tasks().get(self.arn(self._get_param("task")))
        if not task:
            raise InvalidParameterException("The referenced task was not found.")
        task.stops(self._get_param("reason"))
        touched.append(task)
        return ActionResult({"task": task})


def tasks(since=0, most=None):
    return [task.shown() for task in started[since:][:most]]


def task_of(arn):
    return next(task for task in reversed(started) if task.task_arn == arn)


def task(arn):
    return task_of(arn).shown()


def becomes(arn, **change):
    task_of(arn).becomes(**change)


def forget(arn):
    """As ECS does an hour after a task has stopped."""
    task = task_of(arn)
    del task._backend.tasks[task.cluster_name][arn]


def oblige(yes):
    global obliging
    obliging = yes
    touched.extend(started)


def settle():
    """What follows an answer."""
    if obliging:
        for task in touched:
            task.obliges()
    touched.clear()
