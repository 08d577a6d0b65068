"""As much of W&B's server as `wandb sync` and `wandb.init` speak to: it keeps the rows that it is sent."""

import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = {"id": "e", "name": "us"}
PROJECT = "avatars"  # that there is, for dashboards


def services(parent: int) -> list[int]:
    """W&B's own processes beside one of ours, which may have ended."""
    listed = subprocess.run(["ps", "-ewwo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listed.splitlines() if "wandb-core" in line]
    return [int(words[0]) for words in lines if words[-2:] == ["--pid", str(parent)]]


def until_ended(parent: int) -> None:
    """W&B's process outlives a killed one of ours for a moment, and writes."""
    end = time.monotonic() + 30
    while services(parent):
        assert time.monotonic() < end
        time.sleep(0.05)


class Server:
    """History of each run by its id, behind `url`. Use it as a context."""

    def __init__(self) -> None:
        self.history: dict[str, list[str]] = {}
        self.views: dict[str, dict[str, Any]] = {}  # workspaces and reports as they were saved, by id
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.reply({})

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.reply({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                content = json.loads(body) if body.startswith(b"{") else {}
                if "query" in content:
                    self.reply({"data": server.answer(content["query"], content.get("variables") or {})})
                else:
                    server.receive(self.path.split("/")[-2], content.get("files") or {})
                    self.reply({})

            def reply(self, tree: dict) -> None:
                body = json.dumps(tree).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def environment(self) -> dict[str, str]:
        """Of a process that is logged in here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": 40 * "a", "WANDB_MODE": "online"}

    def rows(self, run: str) -> list[dict[str, Any]]:
        """What was sent of a run, a dict a row."""
        return [json.loads(line) for line in self.history.get(run, [])]

    def receive(self, run: str, files: dict[str, dict[str, Any]]) -> None:
        """Lines of a run's history from an offset on."""
        if part := files.get("wandb-history.jsonl"):
            self.history.setdefault(run, [])[part["offset"] :] = part["content"]

    def save(self, given: dict[str, Any]) -> dict[str, Any]:
        """A view, anew or over an older one."""
        number = given.get("id") or f"view{len(self.views)}"
        self.views[number] = given
        view = {key: given.get(key) for key in ("type", "name", "displayName", "description", "spec")}
        view |= {"id": number, "project": {"id": "p", "name": PROJECT, "entityName": "us"}}
        return {"view": view | {"updatedAt": "2026-01-01T00:00:00"}, "inserted": number not in self.views}

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """To a question in GraphQL."""
        if "upsertView(" in query:
            return {"upsertView": self.save(given)}
        if "ProjectInternalId" in query:
            known = given["projectName"] == PROJECT
            return {"project": {"id": "p", "internalId": "UHJvamVjdDox"} if known else None}
        if "projects:" in query or "GetProjects" in query:
            page = {"endCursor": None, "hasNextPage": False}
            node = {
                "id": "p",
                "name": PROJECT,
                "entityName": "us",
                "createdAt": "2026-01-01",
                "isBenchmark": False,
                "user": None,
            }
            return {"models": {"edges": [{"node": node, "cursor": "c"}], "pageInfo": page}}
        project = {"id": "p", "name": given.get("project") or "project", "entity": ENTITY}
        name = given.get("name", "")
        lines = self.history.get(name, [])
        if "upsertBucket(" in query:
            bucket = {"id": "b", "name": name, "displayName": name, "sweepName": None, "config": None}
            bucket |= {"historyLineCount": len(lines), "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": not lines}}
        if "RunResumeStatus" in query:
            state = {"id": "b", "name": name, "summaryMetrics": "{}", "config": "{}", "tags": [], "eventsTail": "[]"}
            state |= {"historyTail": json.dumps(lines[-1:]), "historyLineCount": len(lines), "wandbConfig": '{"t": 1}'}
            state |= {"eventsLineCount": 0, "logLineCount": 0, "displayName": name, "notes": ""}
            return {"model": {**project, "bucket": state if lines else None}}
        if "createRunFiles" in query:
            files = [{"name": file, "uploadUrl": f"{self.url}/put"} for file in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        viewer = {"id": "v", "entity": "us", "username": "us", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer, "serverInfo": None}
