"""The admin application: what can be asked, and what holds for every answer.

Invariant: a request reaches a handler only when it may; every error is a problem document; nothing is cached.
"""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.admin.access import Role
from proxy.admin.answers import json_bytes
from proxy.admin.control import Control
from proxy.admin.doors import Connection
from proxy.admin.failures import Failures
from proxy.admin.guard import Guard
from proxy.admin.handlers_config import ConfigHandlers
from proxy.admin.handlers_drain import DrainHandlers
from proxy.admin.handlers_events import EventHandlers
from proxy.admin.handlers_explain import ExplainHandlers
from proxy.admin.handlers_process import ProcessHandlers
from proxy.admin.handlers_routes import RouteHandlers
from proxy.admin.handlers_shadow import ShadowHandlers
from proxy.admin.handlers_status import StatusHandlers
from proxy.admin.handlers_versions import VersionHandlers
from proxy.admin.openapi import document
from proxy.admin.operations import Operation, prepare
from proxy.admin.problems import COMMON_FIELDS, Refused, problem
from proxy.admin.recordings import Recordings
from proxy.admin.refusals import refused
from proxy.admin.sse import Streams
from proxy.admin.tally import Tally
from proxy.controlplane.errors import CommandError
from proxy.controlplane.events import Author
from proxy.controlplane.journal.journal import JournalError
from proxy.errors import ConfigError
from proxy.settings.units import quote

AUTHOR = web.RequestKey("author", Author)

log = structlog.get_logger("admin")


class Api:
    """Everything that can be asked of one `Control`. `private`: see `Guard`."""

    def __init__(self, control: Control, *, private: bool = True) -> None:
        self._control = control
        self._failures = Failures()
        self.streams = Streams(control)
        self.recordings = Recordings(control)
        self.tally = Tally(control.commands.feed)
        self._guard = Guard(control, self._failures, private=private)
        self.operations = self._operations()
        self._roles: dict[object, Role] = {}

    def _operations(self) -> list[Operation]:
        control = self._control
        topics = (
            StatusHandlers(control, self._failures, self.tally), RouteHandlers(control),
            ShadowHandlers(control, self.recordings, self._guard.still_holds), ExplainHandlers(control),
            EventHandlers(control, self.streams, self._guard.still_holds), ConfigHandlers(control),
            VersionHandlers(control), DrainHandlers(control),
            ProcessHandlers(control, lambda: json_bytes(document(self.operations))),
        )
        return [operation for topic in topics for operation in topic.operations()]

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_explain_errors, self._admit()])
        for operation in self.operations:
            handler = self._serve(operation)
            self._roles[handler] = operation.role
            if operation.method == "GET":
                app.router.add_get(operation.path, handler, allow_head=operation.answers_head)
            else:
                app.router.add_route(operation.method, operation.path, handler)
        app.on_response_prepare.append(_common_fields)
        return app

    def _serve(self, operation: Operation) -> Handler:
        body_s = self._control.patience.body_s

        async def serve(request: web.Request) -> web.StreamResponse:
            call = await prepare(operation, request, request[AUTHOR], body_s)
            return await operation.handler(call)

        return serve

    def _admit(self) -> Middleware:
        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            # What is not there is known only to those who may look.
            request[AUTHOR] = self._guard.admit(request, self._roles.get(request.match_info.handler, "viewer"))
            return await handler(request)

        return admit


async def _common_fields(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(COMMON_FIELDS)


@web.middleware
async def _explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.begin()
    try:
        return await _answer(request, handler)
    finally:
        if isinstance(connection, Connection):
            connection.end()


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        answer = error.answer()
        if error.status in _ENDS_CONNECTION:
            answer.force_close()
        return answer
    except CommandError as error:
        return refused(error).answer()
    except (ConfigError, JournalError) as error:
        return refused(error).answer()
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"{quote(request.path)} answers {allowed} only", {"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, "there is nothing here; `/api/v1/openapi.json` shows what there is")
    except web.HTTPException as error:
        return problem(error.status, error.reason)
    except ConnectionError:
        raise           # the one who asked is gone: there is nobody to answer
    except Exception:
        # The one place for what nobody foresaw: the caller learns that it failed, the log learns why.
        log.exception("admin request failed", method=request.method, path=request.path)
        return problem(500, "the answer could not be made; the log of Turnout says why")


_ENDS_CONNECTION = frozenset({408, 413})
"""What is left of the body is not worth waiting for."""
