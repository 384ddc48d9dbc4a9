"""A mail with a pixel, printed as it would be sent.

python examples/mail.py --gateway https://px.example.com --to ada@example.com | sendmail -t
"""

from __future__ import annotations

import argparse
from email.message import EmailMessage

from pixelcore import img_tag, pixel_url


def mail(gateway: str, key: str, to: str, user_id: str) -> EmailMessage:
    """A mail that makes an ``Email Opened`` when its images are shown."""
    # No messageId: each time that the mail is opened is an event of its own.
    properties = {"campaign": {"id": "camp_001", "subject": "What's new"}, "variant": "b"}
    url = pixel_url(gateway, "track", key, event="Email Opened", user_id=user_id, properties=properties)
    message = EmailMessage()
    message["To"], message["From"], message["Subject"] = to, "news@example.com", "What's new"
    message.set_content("This month: tea.")
    message.add_alternative(f"<html><body><p>This month: tea.</p>{img_tag(url)}</body></html>", subtype="html")
    return message


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print a mail with a pixel.")
    parser.add_argument("--gateway", default="https://px.example.com")
    parser.add_argument("--key", default="dk_live_abc123")
    parser.add_argument("--to", default="ada@example.com")
    parser.add_argument("--user-id", default="user_1")
    arguments = parser.parse_args()
    print(mail(arguments.gateway, arguments.key, arguments.to, arguments.user_id).as_string())
