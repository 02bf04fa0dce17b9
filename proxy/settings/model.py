"""The file as pydantic models: which keys there are, what each means, and its default.

Only shapes and single values are checked here, so that every problem has a place; what concerns several values is
checked in `crosscheck`. Defaults of limits and timeouts come from the core, which gives each its reason.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from proxy.core.health.values import Health
from proxy.core.listen import Listen
from proxy.core.route import Match, Route, Server, Sticky
from proxy.settings import fields, traffic_fields
from proxy.settings.forms import OneOrMore, Shorthand
from proxy.settings.health_model import BreakerSection, EjectSection, ProbeSection
from proxy.settings.limits_model import LimitsSection, TimeoutsSection
from proxy.settings.load_model import MOST_IN_FLIGHT, AdaptiveSection, QueueSection
from proxy.settings.retry_model import RetrySection
from proxy.settings.section import Section, entry
from proxy.settings.shadow_model import ShadowSection
from proxy.settings.units import format_duration
from proxy.settings.values import DEFAULT_BUCKETS

_HEALTH = Health()
_ROUTE = Route("", Match(), (), "")
_DAY = 86_400.0
_COOKIE_LIFE = 400 * 86_400     # browsers keep none longer (draft-ietf-httpbis-rfc6265bis §5.5)


class TokenSection(Section):
    """Who may use the admin API, and for what."""

    model_config = ConfigDict(json_schema_extra={
        "oneOf": [{"required": [key]} for key in ("token_env", "token_file", "token_sha256")]})

    name: Annotated[str, fields.NAME] = Field(description="The name of the holder, as events show it.", examples=["ci"])
    role: Annotated[str, fields.choice("viewer", "operator")] = Field(
        description="`viewer` reads; `operator` also changes.")
    token_env: Annotated[str | None, fields.ENVIRONMENT_NAME] = entry(
        None, None, "The environment variable that holds the token.", examples=["TURNOUT_TOKEN"])
    token_file: Annotated[str | None, fields.SECRET_FILE] = entry(
        None, None, "The file that holds the token, relative to the file's folder.",
        examples=["/run/secrets/turnout-token"])
    token_sha256: Annotated[bytes | None, fields.SHA256] = entry(
        None, None, "The SHA-256 of the token, in hex.")


class AdminSection(Section):
    """The admin API, metrics and health of Turnout itself."""

    listen: Annotated[Listen, fields.LISTEN] = entry(
        Listen("127.0.0.1", 9900), "127.0.0.1:9900", "Address of the admin API.",
        examples=["unix:/run/turnout/admin.sock"])
    tokens: list[TokenSection] = entry([], [], "Who may use it. Without any, it listens on loopback only.")


class MetricsSection(Section):
    """What /metrics tells."""

    buckets: list[Annotated[float, fields.duration(50e-6, 120)]] = Field(
        default=list(DEFAULT_BUCKETS), min_length=1, max_length=50,
        description="Upper bounds of the latency histograms, ascending.",
        json_schema_extra={"default": [format_duration(bound) for bound in DEFAULT_BUCKETS]})


class JournalSection(Section):
    """What the journal keeps."""

    events: Annotated[int, fields.count(100, 10_000_000)] = entry(
        100_000, 100_000, "How many events are kept, the newest ones.")


class VersionSection(Section):
    """One deployment of the service: where it is, how it is judged, and how much it is given."""

    servers: list[Annotated[Server, fields.SERVER]] = Field(
        min_length=1, description="Its addresses: `http://host:port` or `unix:/path`.",
        examples=[["http://127.0.0.1:9001"], ["unix:/run/app.sock"]])
    probe: Annotated[
        ProbeSection | None, Shorthand(off=True, key="path", kind=traffic_fields.TARGET),
    ] = entry(None, "off", "Asks each server whether it is well: the path alone, or a mapping; `off`: not at all.",
              examples=["/healthz"])
    ejection: Annotated[EjectSection | None, Shorthand(off=True, on=True)] = entry(
        EjectSection(), {}, "Servers that fail real requests get no more of them; `off`: they do.", alias="eject")
    breaker: Annotated[BreakerSection | None, Shorthand(off=True, on=True)] = entry(
        BreakerSection(), {}, "A version that fails gets no more requests, where another can take them.")
    panic: Annotated[float, traffic_fields.part(0, 100)] = entry(
        _HEALTH.panic, "30%", "With less than this part of its servers in, all are tried again.")
    slow_start_s: Annotated[float, traffic_fields.SLOW_START] = entry(
        _HEALTH.slow_start_s, "none", "How long a server that comes back takes to get its full part; `none`: at once.",
        alias="slow_start")
    in_flight: Annotated[int | None, traffic_fields.count_or_none(1, MOST_IN_FLIGHT)] = entry(
        None, "none", "Most requests in flight at this version, all workers together (503).")
    per_server: Annotated[int | None, traffic_fields.count_or_none(1, MOST_IN_FLIGHT)] = entry(
        None, "none", "Most requests in flight at each of its servers, all workers together.", alias="server_in_flight")
    queue: Annotated[
        QueueSection, Shorthand(key="length", kind=fields.count(0, MOST_IN_FLIGHT)),
    ] = entry(QueueSection(), {}, "Requests that may wait for a place: how many alone, or a mapping.", examples=[100])
    adaptive: Annotated[AdaptiveSection | None, Shorthand(off=True, on=True)] = entry(
        None, "off", "A limit on requests in flight that follows the latency.")


class MatchSection(Section):
    """Which requests belong to a route: all conditions hold."""

    host: Annotated[str | None, fields.HOST] = entry(
        None, None, "Host name, exact or `*.` and a name; any, if left out.",
        examples=["shop.example.com", "*.example.com"])
    path: Annotated[str, fields.PATH] = entry(
        "/", "/", "Path prefix on whole segments; the longest match wins.", examples=["/api"])
    methods: list[Annotated[str, fields.METHOD]] = Field(
        default=[], min_length=1, description="Request methods; any, if left out.", examples=[["GET", "HEAD"]],
        json_schema_extra={"default": None})
    headers: dict[Annotated[str, fields.HEADER], Annotated[str | None, fields.HEADER_CONDITION]] = entry(
        {}, {}, "Header name → the value it must have, or `{present: true}`.",
        examples=[{"X-Beta": "1"}, {"X-Beta": {"present": True}}])


class StickySection(Section):
    """How a client is recognised, so that it stays with its version."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["by"]}, {"required": ["app_cookie"]}]})

    by: Annotated[str | None, fields.choice("cookie", "header", "address", "app_cookie")] = entry(
        None, None, "`cookie` (Turnout issues it), `header` or `address`; left out when `app_cookie` is given.")
    name: Annotated[str | None, fields.COOKIE] = entry(
        None, "turnout", "Name of the cookie that Turnout issues, or of the request header.")
    app_cookie: Annotated[str | None, fields.COOKIE] = entry(
        None, None, "Name of a cookie that the application sets itself.", examples=["JSESSIONID"])
    max_age: Annotated[int | None, fields.max_age(_COOKIE_LIFE)] = entry(
        Sticky("cookie").max_age_s, format_duration(Sticky("cookie").max_age_s or 0),
        "How long Turnout's cookie lives; `none`: as long as the browser's session.")
    mode: Annotated[str, fields.choice("ramp", "session")] = entry(
        "ramp", "ramp", "`ramp`: weights move clients; `session`: a client keeps its first version until a rollback.")


class OverrideSection(Section):
    """How a request may name its version itself."""

    header: Annotated[str | None, fields.HEADER] = entry(None, None, "Request header.", examples=["X-Turnout-Version"])
    cookie: Annotated[str | None, fields.COOKIE] = entry(None, None, "Cookie.", examples=["turnout_version"])
    query: Annotated[str | None, fields.QUERY] = entry(None, None, "Query parameter.", examples=["version"])
    networks: list[Annotated[str, fields.NETWORK]] = entry(
        [], [], "Networks whose clients may; without any, nobody may.", alias="from", examples=[["10.0.0.0/8"]])


class RouteSection(Section):
    """A set of requests that is moved as one."""

    name: Annotated[str, fields.NAME] = Field(description="Its name in the API, metrics and events.", examples=["shop"])
    match: MatchSection = entry(MatchSection(), {}, "Which requests belong to it; every request, if left out.")
    split: dict[Annotated[str, fields.NAME], Annotated[float, fields.WEIGHT]] = Field(
        description="Relative weight of each version.", json_schema_extra={"minProperties": 1},
        examples=[{"old": 95, "new": 5}, {"old": "87.5%", "new": "12.5%"}])
    baseline: Annotated[str | None, fields.NAME] = entry(
        None, None, "The version that rollback returns to; the first of `split`, if left out.")
    sticky: StickySection | None = entry(None, None, "Keeps each client with its version.")
    override: OverrideSection | None = entry(None, None, "Lets a request name its version.")
    shadow: ShadowSection | None = entry(None, None, "Copies requests to another version.")
    retry: Annotated[RetrySection | None, Shorthand(off=True, on=True)] = entry(
        RetrySection(), {}, "What failed attempts are followed by; `off`: nothing.")
    rescue: Annotated[bool, fields.FLAG] = entry(
        False, False, "Whether the baseline answers an idempotent request that failed at a candidate.")
    when_down: Annotated[Literal["baseline", "fail", "hold"], fields.choice("baseline", "fail", "hold")] = entry(
        "baseline", "baseline", "What becomes of the requests of a candidate that is down.")
    spill: Annotated[int, fields.count(0, MOST_IN_FLIGHT)] = entry(
        _ROUTE.spill, _ROUTE.spill, "How many of those the baseline is given at once, all workers together (503).")
    priority: Annotated[int, traffic_fields.PRIORITY] = entry(
        _ROUTE.priority, "normal", "Whose requests go first where some must wait: `low`, `normal` or `high`.")
    salt: Annotated[str | None, fields.SALT] = entry(
        None, None, "What decides which clients move first; the route's name, if left out.")


class FileSection(Section):
    """The configuration of Turnout: which traffic goes to which version of a service."""

    listen: Annotated[
        list[Annotated[Listen, fields.LISTEN]], Field(min_length=1, max_length=64), OneOrMore(),
    ] = Field(
        default=[Listen("127.0.0.1", 8080)], description="Where clients connect: one address or a list.",
        json_schema_extra={"default": "127.0.0.1:8080"}, examples=["0.0.0.0:80", ["127.0.0.1:8080", "[::1]:8080"]])
    workers: Annotated[int | None, fields.WORKERS] = entry(
        None, "auto", "Worker processes; `auto`: one per CPU that this process may use.")
    admin: AdminSection = entry(AdminSection(), {}, "The admin API.")
    state_dir: Annotated[str | None, fields.STATE_DIR] = entry(
        "./.turnout", "./.turnout", "Folder of the journal, relative to the file's folder; `memory` for none.")
    watch: Annotated[float | None, fields.duration_or_none(0.1, _DAY)] = entry(
        1.0, "1s", "How often the file's content is looked at for a change; `none`: never.")
    secret: Annotated[bytes | None, fields.SECRET] = entry(
        None, None, "Signs session cookies; by default made once and kept in `state_dir`.",
        examples=["${TURNOUT_SECRET}"])
    trusted_proxies: list[Annotated[str, fields.NETWORK]] = entry(
        [], [], "Networks whose X-Forwarded-* fields are believed.", examples=[["10.0.0.0/8"]])
    limits: LimitsSection = entry(LimitsSection(), {}, "Bounds on what a client or server may send.")
    timeouts: TimeoutsSection = entry(TimeoutsSection(), {}, "Deadlines.")
    access_log: Annotated[str, fields.ACCESS_LOG] = entry(
        "off", "off", "One JSON line per request: `off`, `stdout` or the path of a file.")
    metrics: MetricsSection = entry(MetricsSection(), {}, "What /metrics tells.")
    journal: JournalSection = entry(JournalSection(), {}, "What the journal keeps.")
    versions: dict[Annotated[str, fields.NAME], VersionSection] = Field(
        description="The deployments that routes split between.", json_schema_extra={"minProperties": 1})
    routes: list[RouteSection] = Field(
        description="What goes where; the most specific match wins.", json_schema_extra={"minItems": 1})
