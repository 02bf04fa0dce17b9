"""The names of what workers count, and their labels; and how the pieces of a delta look."""

from __future__ import annotations

REQUESTS = "turnout_requests_total"
DURATION = "turnout_request_duration_seconds"
INFLIGHT = "turnout_inflight_requests"
RETRIES = "turnout_retries_total"
UPSTREAM_ERRORS = "turnout_upstream_errors_total"
REFUSALS = "turnout_refusals_total"
CONNECTIONS = "turnout_connections"
ACCEPTED = "turnout_connections_accepted_total"
UPSTREAM_CONNECTIONS = "turnout_upstream_connections"
RECEIVED = "turnout_client_received_bytes_total"
SENT = "turnout_client_sent_bytes_total"
LAG = "turnout_event_loop_lag_seconds"
LOG_DROPPED = "turnout_log_lines_dropped_total"
ACCESS_LOG_FAILED = "turnout_access_log_failed"
TUNNELS = "turnout_tunnels"
TUNNELS_WITHDRAWN = "turnout_tunnels_withdrawn_total"
SHADOW_REQUESTS = "turnout_shadow_requests_total"
SHADOW_SKIPPED = "turnout_shadow_skipped_total"
SHADOW_FRACTION = "turnout_shadow_fraction"
ATTEMPTS = "turnout_attempts_total"
RESCUES = "turnout_rescues_total"
DIVERTED = "turnout_diverted_total"
BUDGET_EXHAUSTED = "turnout_retry_budget_exhausted_total"
QUEUE_LENGTH = "turnout_queue_length"
QUEUED = "turnout_queued_total"
SHED = "turnout_shed_total"
CONCURRENCY_LIMIT = "turnout_concurrency_limit"
SERVER_INFLIGHT = "turnout_server_inflight"
CLIENT_LIMITED = "turnout_client_limited_total"
ACCEPT_PAUSED = "turnout_accept_paused"

ATTEMPT_OUTCOMES = ("answered", "error", "connect", "reset", "timeout", "bad-answer", "gone", "withdrawn")
"""How an attempt can end: a good answer, one with a 5xx, no answer in several ways, or nobody left who wants one."""
RESCUE_OUTCOMES = ("answered", "failed")
SHED_REASONS = ("queue-full", "queue-timeout", "no-place", "spill")
CLIENT_LIMITS = ("connections", "rate")
PAUSE_REASONS = ("connections", "descriptors", "memory")
"""Why a worker accepts no connections: it has as many as it may, or can, or it is too large."""

LABELS: dict[str, tuple[str, ...]] = {
    REQUESTS: ("route", "version", "code"),
    DURATION: ("route", "version"),
    INFLIGHT: ("route", "version"),
    RETRIES: ("route", "version"),
    UPSTREAM_ERRORS: ("version", "server", "kind"),
    REFUSALS: ("reason",),
    CONNECTIONS: (),
    ACCEPTED: (),
    UPSTREAM_CONNECTIONS: (),
    RECEIVED: ("route", "version"),
    SENT: ("route", "version"),
    LAG: (),
    LOG_DROPPED: (),
    ACCESS_LOG_FAILED: (),
    TUNNELS: ("route", "version"),
    TUNNELS_WITHDRAWN: ("route", "version"),
    SHADOW_REQUESTS: ("route", "outcome"),
    SHADOW_SKIPPED: ("route", "reason"),
    SHADOW_FRACTION: ("route",),
    ATTEMPTS: ("route", "version", "outcome"),
    RESCUES: ("route", "version", "outcome"),
    DIVERTED: ("route", "version"),
    BUDGET_EXHAUSTED: ("route",),
    QUEUE_LENGTH: ("version",),
    QUEUED: ("version",),
    SHED: ("version", "reason"),
    CONCURRENCY_LIMIT: ("version",),
    SERVER_INFLIGHT: ("version", "server"),
    CLIENT_LIMITED: ("limit",),
    ACCEPT_PAUSED: ("reason",),
}
"""The label names of each metric, in the order in which a delta carries their values."""

Series = tuple[str, tuple[str, ...], float]
HistogramSeries = tuple[str, tuple[str, ...], dict[int, int], float]
