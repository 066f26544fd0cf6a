"""A handler that keeps objects by path: create, read, replace with a version check, merge. Nothing else."""

import json
from collections import deque
from typing import Any

from homeport.api.exchange import Request, Response
from homeport.api.patch import apply_merge_patch
from homeport.errors import AlreadyExists, ApiError, Conflict, NotFound


class ObjectServer:
    """`failures` are raised by the next requests, one each."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.requests: list[str] = []
        self.failures: deque[Exception] = deque()

    async def handle(self, request: Request) -> Response:
        self.requests.append(request.method)
        try:
            if self.failures:
                raise self.failures.popleft()
            return Response(200, body=json.dumps(self._answer(request)).encode())
        except ApiError as error:
            return Response(error.status_code, body=json.dumps(error.as_status()).encode())

    def _answer(self, request: Request) -> dict[str, Any]:
        body = json.loads(request.body) if request.body else {}
        path = request.path
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise AlreadyExists(f"{path} exists")
        elif path not in self.objects:
            raise NotFound(f"{path} not found")
        if request.method == "GET":
            return self.objects[path]
        if request.method == "PUT":
            if body["metadata"]["resourceVersion"] != self.objects[path]["metadata"]["resourceVersion"]:
                raise Conflict(f"{path} has been modified")
        elif request.method == "PATCH":
            body = apply_merge_patch(self.objects[path], body)
        self.version += 1
        stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.objects[path] = stored
        return stored
