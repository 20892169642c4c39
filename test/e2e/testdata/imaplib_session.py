"""A session with Python's imaplib: HOST PORT TLSPORT USER PASSWORD."""

import imaplib
import ssl
import sys
import threading
import time

host, port, tls_port, user, password = sys.argv[1:]


def ok(answer, want=None):
    """The data of an answer, which must be OK."""
    kind, data = answer
    assert kind == "OK", answer
    if want is not None:
        assert data == want, (data, want)
    return data


def connect():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    c = imaplib.IMAP4_SSL(host, int(tls_port), ssl_context=context, timeout=30)
    ok(c.login(user, password))
    return c


plain = imaplib.IMAP4(host, int(port), timeout=30)
context = ssl._create_unverified_context()
ok(plain.starttls(context))
try:
    plain.login(user, "wrong " + password)
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
else:
    raise AssertionError("a wrong password was taken")
ok(plain.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode()))

c = connect()
ok(c.create('"py box"'))
ok(c.subscribe('"py box"'))
assert any(b"py box" in line for line in ok(c.lsub()))
assert any(b"py box" in line for line in ok(c.list('""', "py*")))

text = b"From: a@example.org\r\nSubject: imaplib\r\n\r\nline one\r\nline two\r\n"
date = '"02-Jan-2023 15:04:05 +0100"'
ok(c.append('"py box"', r"(\Seen custom)", date, text))
ok(c.append('"py box"', None, None, text.replace(b"imaplib", b"second")))
ok(c.select('"py box"'), [b"2"])

data = ok(c.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
assert data[0][1] == text, data
for want in (b"UID 1", rb"\Seen", b"custom", b"RFC822.SIZE %d" % len(text)):
    assert want in data[0][0] + data[1], (want, data)
assert time.mktime(imaplib.Internaldate2tuple(data[0][0])) == 1672668245, data
data = ok(c.fetch("1:2", "(ENVELOPE BODYSTRUCTURE BODY[TEXT]<5.3>)"))
assert data[0][1] == b"one", data
ok(c.search(None, "SUBJECT", "second"), [b"2"])
ok(c.search("UTF-8", "NOT", "KEYWORD", "custom"), [b"2"])
ok(c.uid("SEARCH", "UNSEEN"), [b""])  # BODY[TEXT] has set \Seen
ok(c.store("2", "+FLAGS.SILENT", r"(\Flagged)"))
assert rb"\Flagged" in ok(c.fetch("2", "FLAGS"))[0]

# SORT, THREAD, ACL, QUOTA, NAMESPACE.
ok(c.sort("(REVERSE SUBJECT)", "UTF-8", "ALL"), [b"2 1"])
ok(c.uid("SORT", "(ARRIVAL)", "US-ASCII", "FLAGGED"), [b"2"])
ok(c.thread("ORDEREDSUBJECT", "UTF-8", "ALL"), [b"(1)(2)"])
ok(c.uid("THREAD", "REFERENCES", "UTF-8", "FLAGGED"), [b"(2)"])
assert ok(c.myrights('"py box"'))[0].startswith(b'"py box" lrswipkxtea')
ok(c.setacl('"py box"', "anyone", "lrs"))
ok(c.setacl('"py box"', "anyone", "-s"))
assert ok(c.getacl('"py box"'))[0].endswith(b" anyone lr")
ok(c.deleteacl('"py box"', "anyone"))
assert b"anyone" not in ok(c.getacl('"py box"'))[0]
roots, quotas = ok(c.getquotaroot('"py box"'))
assert roots[0].startswith(b'"py box"'), roots
assert b'"Users/"' in ok(c.namespace())[0]

# Another connection sees what happens in this one.
ok(plain.select('"py box"'), [b"2"])
ok(c.append('"py box"', None, None, text))
ok(plain.noop())
assert plain.response("EXISTS")[1][-1] == b"3"

ok(c.copy("1", "INBOX"))
ok(c.uid("MOVE", "2", "INBOX"))
ok(c.store("1", "+FLAGS", r"(\Deleted)"))
assert ok(c.expunge())[-1] == b"1"  # the MOVE had one too
ok(c.close())
status = ok(c.status('"py box"', "(MESSAGES UNSEEN UIDNEXT)"))[0]
assert all(item in status for item in (b"MESSAGES 1", b"UNSEEN 1", b"UIDNEXT 4")), status
ok(plain.select("INBOX"), [b"2"])  # out of the way of the DELETE
ok(c.rename('"py box"', "py2"))
ok(c.delete("py2"))
ok(c.select("INBOX"), [b"2"])

# IDLE, which imaplib of this age lacks.
heard = threading.Event()


def idle():
    tag = c._new_tag()
    c.send(tag + b" IDLE\r\n")
    assert c.readline().startswith(b"+")
    ready.set()
    while not c.readline().endswith(b"3 EXISTS\r\n"):
        pass
    heard.set()
    c.send(b"DONE\r\n")
    while not c.readline().startswith(tag + b" OK"):
        pass


ready = threading.Event()
thread = threading.Thread(target=idle, daemon=True)
thread.start()
assert ready.wait(20)
start = time.monotonic()
ok(plain.append("INBOX", None, None, text))
assert heard.wait(20), "IDLE did not tell of a new message"
thread.join(20)
kind, _ = c.logout()
assert kind == "BYE", kind
plain.logout()
