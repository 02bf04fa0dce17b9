"""The admin application: what can be asked, and what holds for every answer.

Invariant: a request reaches a handler only when it may; every error is a problem document; nothing is cached.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.admin import views
from proxy.admin.access import holder_of, is_loopback_host
from proxy.admin.problems import problem
from proxy.controlplane.supervisor import Supervisor
from proxy.settings import AdminSettings

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Probes of an orchestrator carry no token, and learn nothing but that Turnout is there."""
_MAX_BODY = 1024 * 1024

log = structlog.get_logger("admin")


def make_app(supervisor: Supervisor, settings: AdminSettings) -> web.Application:
    """Return the application over this supervisor, guarded as `settings` say."""

    async def livez(_: web.Request) -> web.Response:
        return _json({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        view = views.readiness(supervisor)
        return _json(view, status=200 if view["ready"] else 503)

    async def status(_: web.Request) -> web.Response:
        return _json(views.status(supervisor))

    app = web.Application(middlewares=[_explain_errors, _guard(settings)], client_max_size=_MAX_BODY)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/api/v1/status", status)
    app.on_response_prepare.append(_common_fields)
    return app


def _json(view: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(view) + "\n", content_type="application/json")


async def _common_fields(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "turnout"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def _explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"{request.path} answers {allowed} only", {"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, "there is nothing here; `/api/v1/status` shows what Turnout does")
    except web.HTTPException as error:
        return problem(error.status, error.reason)
    except Exception:
        # The one place for what nobody foresaw: the caller learns that it failed, the log learns why.
        log.exception("admin request failed", method=request.method, path=request.path)
        return problem(500, "the answer could not be made; the log of Turnout says why")


def _guard(settings: AdminSettings) -> Middleware:
    local = settings.listen.unix_path is None and not settings.tokens

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if local and not is_loopback_host(request.headers.get("Host", "")):
            return problem(421, "without tokens the Host field must name loopback, such as `localhost`")
        # Viewer and operator may both read, and there is nothing but reading yet.
        open_to_all = not settings.tokens or request.path in OPEN_PATHS
        if not open_to_all and holder_of(request.headers.get("Authorization"), settings.tokens) is None:
            return problem(401, "a token is needed: `Authorization: Bearer TOKEN`", {"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard
