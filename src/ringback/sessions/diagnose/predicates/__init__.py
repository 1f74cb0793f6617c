"""Every predicate, in the order in which they are asked.

What ends a session is told once: of `ENDINGS` the first that finds something speaks for that ending, so the order is the
rule "the telling thing beats the bare code". `REMARKS` are all asked; findings of one issue are told as one.
"""

from __future__ import annotations

from ringback.sessions.diagnose.finding import EndingRecogniser, RemarkRecogniser
from ringback.sessions.diagnose.predicates import (
    addresses,
    authentication,
    billing,
    calls,
    capture,
    delays,
    media,
    negotiation,
    refusals,
    requests,
    silence,
)

ENDINGS: tuple[EndingRecogniser, ...] = (
    # What an answered call broke on
    calls.ack_missing,
    calls.session_timer_expired,
    calls.dialog_lost,
    # What the billing engine decided, whatever code and phrase the node made of it
    billing.destination_forbidden,
    billing.destination_not_in_tariff,
    billing.insufficient_balance,
    billing.credit_limit_reached,
    billing.account_blocked,
    billing.account_suspended,
    billing.account_closed,
    billing.account_expired,
    billing.account_not_active_yet,
    billing.customer_blocked,
    billing.customer_suspended,
    billing.customer_limited,
    billing.account_unknown,
    billing.service_not_in_product,
    billing.node_not_in_product,
    billing.node_unknown,
    billing.too_many_simultaneous_calls,
    billing.wrong_password,
    billing.billing_error,
    billing.billing_refused,
    billing.billing_unreachable,
    # What a refusal says in words or by what was tried before
    authentication.nonce_expired,
    authentication.credentials_rejected,
    authentication.no_credentials_sent,
    # Silence, which a node's own 408 only reports
    silence.message_too_large,
    silence.no_response,
    silence.stuck_after_trying,
    silence.cancel_unanswered,
    refusals.no_answer,
    silence.caller_cancelled,
    # Media
    negotiation.t38_refused,
    negotiation.encryption_mismatch,
    negotiation.codec_mismatch,
    # Words and causes before codes
    refusals.not_registered,
    refusals.no_route,
    refusals.callee_busy,
    refusals.callee_declined,
    refusals.number_incomplete,
    refusals.network_congestion,
    refusals.number_unknown,
    refusals.number_changed,
    refusals.ambiguous_number,
    requests.loop_detected,
    refusals.gateway_failure,
    requests.method_not_supported,
    requests.extension_required,
    requests.session_timer_too_small,
    authentication.registration_too_brief,
    requests.redirected,
    refusals.caller_not_allowed,
    refusals.callee_unavailable,
    # Whatever is left, and the good ends
    refusals.server_error,
    refusals.other_global_failure,
    requests.malformed_request,
    calls.short_call,
    calls.normal,
)

REMARKS: tuple[RemarkRecogniser, ...] = (
    authentication.registration_flapping,
    authentication.registrations_overwrite,
    negotiation.codec_mismatch_in_answer,
    negotiation.encryption_mismatch_in_answer,
    media.no_audio,
    media.one_way_audio,
    negotiation.t38_refused_in_call,
    media.poor_quality,
    addresses.private_address_in_sdp,
    addresses.private_address_in_contact,
    media.media_on_hold,
    billing.rating_mismatch,
    billing.billing_unreachable_and_let_through,
    calls.dialog_lost_in_passing,
    calls.bye_unanswered,
    requests.method_not_supported_in_call,
    requests.redirected_and_followed,
    delays.failover_used,
    delays.slow_response,
    delays.long_post_dial_delay,
    capture.capture_incomplete,
    capture.message_truncated,
    capture.clock_skew,
)

RECOGNISED = frozenset([*(one.issue for one in ENDINGS), *(one.issue for one in REMARKS)])
