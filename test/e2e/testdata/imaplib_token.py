"""Logins by token with Python's imaplib: HOST TLSPORT USER, and the token on
standard input. Prints what the server says of a refused one."""

import imaplib
import json
import ssl
import sys

host, port, user = sys.argv[1:]
token = sys.stdin.read().strip()


def connect():
    return imaplib.IMAP4_SSL(host, int(port), ssl_context=ssl._create_unverified_context(), timeout=30)


def bearer(token):
    return f"n,a={user},\1host={host}\1port={port}\1auth=Bearer {token}\1\1".encode()


def xoauth2(token):
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def login(mechanism, message, dummy):
    """Logs in; returns the server's JSON when it refuses."""
    c = connect()
    assert "AUTH=" + mechanism in c.capabilities, c.capabilities
    told = []

    def answer(challenge):
        if not challenge:
            return message
        told.append(json.loads(challenge))
        return dummy

    try:
        kind, _ = c.authenticate(mechanism, answer)
        assert kind == "OK" and not told, (kind, told)
    except imaplib.IMAP4.error as e:
        assert "AUTHENTICATIONFAILED" in str(e), e
        assert len(told) == 1, (e, told)
        kind, _ = c.noop()  # the connection goes on
        assert kind == "OK"
        c.shutdown()
        return told[0]
    kind, data = c.append("INBOX", "", None, b"Subject: by token\r\n\r\nhello\r\n")
    print(mechanism, "APPEND", kind)
    c.logout()
    return None


for mechanism, message, dummy in ("OAUTHBEARER", bearer, b"\1"), ("XOAUTH2", xoauth2, b""):
    print(mechanism, json.dumps(login(mechanism, message(token), dummy), sort_keys=True))
