"""A small part of Kubernetes' API over HTTP: Jobs, Secrets, Services, pods and their logs in one namespace.

It speaks the real protocol, so that the official client cannot tell the difference: paths, status codes, bearer
tokens, label selectors, unique names, Status objects, and owners whose end is the end of what they own.
It runs no pods: a test adds them.
"""

import http.server
import json
import re
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

PATH = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)
KINDS = {"jobs": "Job", "secrets": "Secret", "services": "Service", "pods": "Pod"}
Object = dict[str, Any]


class Refusal(Exception):  # noqa: N818  an answer
    """What the API answers instead."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}


class KubernetesApi:
    """The objects of a namespace, and who may ask for them."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.token = uuid.uuid4().hex
        self.objects: dict[tuple[str, str], Object] = {}
        self.logs: dict[str, str] = {}
        self.refused: dict[str, Refusal] = {}
        """What is refused, by kind: a quota is spent, a right is missing."""
        self.unanswered: set[str] = set()
        """Requests that are done, but of which nobody is told: the connection breaks off."""
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())

    def change_token(self) -> None:
        """Know nobody any more who was known before."""
        self.token = uuid.uuid4().hex

    def find(self, kind: str) -> list[Object]:
        """Return all objects of a kind, the oldest first."""
        return [content for (other, _), content in self.objects.items() if other == kind]

    def add_pod(self, job: str, index: int, *, phase: str, log: str = "", exit_code: int | None = None) -> str:
        """Add a pod of a Job, as Kubernetes' controller would, and return its name."""
        name = f"{job}-{index}-{len(self.objects)}"
        state: Object = {"running": {}} if exit_code is None else {"terminated": {"exitCode": exit_code}}
        status: Object = {"name": "run", "state": state, "image": "x", "imageID": "x", "ready": True, "restartCount": 0}
        self.logs[name] = log
        labels = {"job-name": job}
        annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
        self.objects["pods", name] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": _describe(name, self.namespace) | {"labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": "run"}]},
            "status": {"phase": phase, "containerStatuses": [status] if phase != "Pending" else []},
        }
        return name

    def await_requests(self, request: str, count: int) -> None:
        """Wait until there were so many more requests of a kind, such as `GET pods`."""
        with self._asked:
            target = self.requests.count(request) + count
            assert self._asked.wait_for(lambda: self.requests.count(request) >= target, timeout=120)

    def end_job(self, name: str) -> None:
        """Have a Job succeed, as Kubernetes' controller would."""
        self.objects["jobs", name]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def write_configuration(self, path: Path) -> None:
        """Write a `kubeconfig` of a user who may use it."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "ada", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "ada"}}],
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    @contextmanager
    def serving(self) -> Generator[None]:
        """Answer requests for as long as the context lasts."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, method: str, url: str, authorization: str | None, body: Object) -> Object | str:
        """Do what a request asks for.

        :return: An object, or the text of a log.
        """
        if authorization != f"Bearer {self.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        parts = urlsplit(url)
        match = PATH.fullmatch(parts.path)
        if match is None or match["namespace"] != self.namespace or match["kind"] not in KINDS:
            raise Refusal(403, "Forbidden", f"you may not {method} {parts.path}")
        kind, name = match["kind"], match["name"]
        self.requests.append(f"{method} {kind}")
        self._asked.notify_all()
        if method == "POST":
            return self._create(kind, body)
        if name is None:
            return self._list(kind, parse_qs(parts.query).get("labelSelector", [""])[0])
        if (kind, name) not in self.objects:
            raise Refusal(404, "NotFound", f'{kind} "{name}" not found')
        if match["log"]:
            return self.logs[name]
        if method == "DELETE":
            return self._delete(kind, name)
        return self.objects[kind, name]

    def is_unanswered(self, method: str, url: str) -> bool:
        """Tell whether the connection breaks off before the answer to a request."""
        match = PATH.fullmatch(urlsplit(url).path)
        return match is not None and f"{method} {match['kind']}" in self.unanswered

    def _create(self, kind: str, body: Object) -> Object:
        name = body["metadata"]["name"]
        if refusal := self.refused.get(kind):
            raise refusal
        if (kind, name) in self.objects:
            raise Refusal(409, "AlreadyExists", f'{kind} "{name}" already exists')
        if body["kind"] != KINDS[kind]:
            raise Refusal(400, "BadRequest", f"{body['kind']} is not {KINDS[kind]}")
        created = {**body, "metadata": {**body["metadata"], **_describe(name, self.namespace)}, "status": {}}
        self.objects[kind, name] = created
        return created

    def _list(self, kind: str, selector: str) -> Object:
        wanted = dict(word.split("=") for word in selector.split(",") if word)
        items = [one for one in self.find(kind) if wanted.items() <= one["metadata"].get("labels", {}).items()]
        return {"apiVersion": "v1", "kind": f"{KINDS[kind]}List", "metadata": {}, "items": items}

    def _delete(self, kind: str, name: str) -> Object:
        gone = self.objects.pop((kind, name))["metadata"]["uid"]
        for key, other in list(self.objects.items()):
            if gone in {owner["uid"] for owner in other["metadata"].get("ownerReferences", ())}:
                del self.objects[key]
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _make_handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
                try:
                    with api._lock:
                        code, answer = 200, api.answer(self.command, self.path, self.headers["Authorization"], body)
                except Refusal as refusal:
                    code, answer = refusal.code, refusal.status
                if api.is_unanswered(self.command, self.path):
                    self.close_connection = True
                    return
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_DELETE = do_GET  # noqa: N815  names of the protocol

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named so by its base
                pass

        return Handler


def _describe(name: str, namespace: str) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now}
