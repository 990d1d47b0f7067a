"""EFS, as moto has it and as the product relies on it: client tokens, pages, limits. Knows no pipe."""

import json

from moto.efs.exceptions import FileSystemNotFound
from moto.efs.models import efs_backends
from moto.efs.responses import EFSResponse
from refusal import refused
from stand_ins import ACCOUNT

# Access points that one file system holds.
access_point_limit = 10_000

# What access points are in, where a test says so: `creating`, `error`. Else they are available.
access_point_states = {}


class Efs(EFSResponse):
    """The operations that moto answers otherwise than EFS does."""

    def create_access_point(self):
        backend, token = self.efs_backend, self._get_param("ClientToken")
        file_system = self._get_param("FileSystemId")
        if file_system not in backend.file_systems_by_id:
            raise FileSystemNotFound(file_system)
        siblings = [p for p in backend.access_points.values() if p.file_system_id == file_system]
        for point in backend.access_points.values():
            if point.client_token == token:
                return refused(
                    409,
                    "AccessPointAlreadyExists",
                    "An access point with this client token already exists.",
                    AccessPointId=point.access_point_id,
                )
        if len(siblings) >= access_point_limit:
            message = "The file system has as many access points as it may have."
            return refused(403, "AccessPointLimitExceeded", message)
        body, headers = super().create_access_point()
        point = {**json.loads(body), "LifeCycleState": "creating"}
        return json.dumps(point), headers

    def describe_access_points(self):
        body, headers = super().describe_access_points()
        points = json.loads(body)["AccessPoints"]
        for point in points:
            point["LifeCycleState"] = access_point_states.get(point["AccessPointId"], "available")
        size = min(self._get_int_param("MaxResults", 100), 100)
        at = int(self._get_param("NextToken") or 0)
        answer = {"AccessPoints": points[at : at + size]}
        if at + size < len(points):
            answer["NextToken"] = str(at + size)
        return json.dumps(answer), headers


def limit_access_points(to):
    global access_point_limit
    access_point_limit = to


def access_point(identity, state):
    access_point_states[identity] = state


def file_system(identity, region, size):
    efs_backends[ACCOUNT][region].file_systems_by_id[identity]._size_value = size
