"""The meaning and the remedy of each reason of rejection (contract, section 5)."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """The texts of one reason: its meaning, and its remedy."""

    means: str
    repair: str


WORDS: dict[str, Words] = {
    "unknown_type": Words(
        "The path does not end in track, page, identify or group.",
        "Correct the path, or add it to PIXELCORE_PATHS; replay these with: pixelcore replay --as track.",
    ),
    "query_too_long": Words("The query is longer than PIXELCORE_MAX_QUERY_BYTES.", "Send less, or raise the setting."),
    "too_many_parameters": Words(
        "The query has more parameters than PIXELCORE_MAX_PARAMETERS.", "Send fewer, or raise the setting."
    ),
    "malformed_data": Words(
        "The parameter data is not base64 of a JSON object, as PIXELCORE_COMPAT=segment reads it.",
        "Correct the value in the sender's template.",
    ),
    "missing_key": Words("The parameter wk is missing or empty.", "Put the pipeline's key into the URL: wk=…"),
    "malformed_key": Words(
        "The wk is not a write key: 1 to 64 of A-Z a-z 0-9 _ -.",
        "Usually a merge tag was not replaced: correct the sender's template.",
    ),
    "unknown_key": Words("PIXELCORE_KEYS_FILE does not have this key.", "Add it there, or correct the URL."),
    "disabled_key": Words("The write key is disabled.", "Set enabled = true in PIXELCORE_KEYS_FILE."),
    "domain_not_allowed": Words(
        "The page that loaded the image is on another domain, or its browser does not send its address.",
        "Add the domain to the key's domain_allowlist in PIXELCORE_KEYS_FILE.",
    ),
    "rate_limited": Words(
        "The key had more requests in this second than its limit.", "Raise rate_limit_rps in PIXELCORE_KEYS_FILE."
    ),
    "address_in_url": Words(
        "A name or a value of the query looks like a mail address, which every log on its way would record.",
        "Send an opaque id instead, or set refuse_addresses = false.",
    ),
    "missing_event": Words("A track needs the name of its event.", "Put it into the URL: e=…"),
    "too_deep": Words(
        "A dotted name of p. or t. has more segments than PIXELCORE_MAX_DEPTH.", "Nest less, or raise the setting."
    ),
    "automated": Words(
        "No person made this request: it is a prefetch, a scanner or a crawler.",
        "Set PIXELCORE_AUTOMATED=flag to keep these as events, marked in context.client.",
    ),
    "bad_signature": Words(
        "The signature s does not match this URL.", "Sign the URL as it is sent, with a current secret of the key."
    ),
    "unsigned": Words(
        "The key requires a signature, which the URL does not have.", "Sign it, or set require_signature = false."
    ),
}
