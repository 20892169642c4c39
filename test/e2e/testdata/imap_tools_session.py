"""A session with imap_tools: HOST PORT TLSPORT USER PASSWORD."""

import datetime
import imaplib
import ssl
import sys

from imap_tools import AND, OR, A, MailBox, MailMessageFlags, U

host, port, tls_port, user, password = sys.argv[1:]
context = ssl._create_unverified_context()


def connect():
    return MailBox(host, int(tls_port), timeout=30, ssl_context=context).login(user, password)


def text(n, subject, extra=""):
    return (f"From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: {subject}\r\n"
            f"Date: Mon, 0{n} Jan 2023 15:04:05 +0100\r\nMessage-ID: <tools{n}@example.org>\r\n{extra}\r\nbody {n}\r\n").encode()


with connect() as box:
    box.folder.create("tools box")
    assert box.folder.exists("tools box")
    assert "tools box" in [f.name for f in box.folder.list()]
    for n, subject in enumerate(["b one", "a two", "Re: b one"], 1):
        extra = "In-Reply-To: <tools1@example.org>\r\n" if n == 3 else ""
        box.append(text(n, subject, extra), "tools box", dt=datetime.datetime(2023, 1, n, tzinfo=datetime.timezone.utc),
                   flag_set=[MailMessageFlags.SEEN] if n == 1 else [])
    assert box.folder.status("tools box")["MESSAGES"] == 3
    box.folder.set("tools box")
    assert box.uids() == ["1", "2", "3"], box.uids()
    got = list(box.fetch(mark_seen=False))
    assert [m.subject for m in got] == ["b one", "a two", "Re: b one"], got
    assert [m.uid for m in got] == ["1", "2", "3"]
    assert got[0].text == "body 1\r\n" and got[0].from_ == "ann@example.org" and got[0].to == ("bob@example.com",)
    assert MailMessageFlags.SEEN in got[0].flags and MailMessageFlags.SEEN not in got[1].flags
    assert [m.uid for m in box.fetch(AND(seen=False), mark_seen=False, bulk=True)] == ["2", "3"]
    assert [m.uid for m in box.fetch(A(subject="two"), mark_seen=False, headers_only=True)] == ["2"]
    assert box.uids(OR(subject="two", uid=U("3"))) == ["2", "3"]
    assert box.uids(AND(date_gte=datetime.date(2023, 1, 2))) == ["2", "3"]

    # SORT, if this imap_tools has it; THREAD, QUOTA and ACL by imaplib below it.
    try:
        assert box.uids("ALL", sort="SUBJECT DATE") == ["2", "1", "3"]
        assert box.uids("ALL", sort="REVERSE DATE") == ["3", "2", "1"]
    except TypeError:
        pass
    c: imaplib.IMAP4 = box.client
    kind, data = c.sort("(SUBJECT DATE)", "UTF-8", "ALL")
    assert (kind, data) == ("OK", [b"2 1 3"]), (kind, data)
    kind, data = c.uid("SORT", "(REVERSE ARRIVAL)", "UTF-8", "ALL")
    assert (kind, data) == ("OK", [b"3 2 1"]), (kind, data)
    kind, data = c.thread("REFERENCES", "UTF-8", "ALL")
    assert kind == "OK" and sorted(data[0].replace(b")(", b") (").split(b") (")) == [b"(1 3", b"2)"], data
    kind, data = c.thread("ORDEREDSUBJECT", "UTF-8", "ALL")
    assert (kind, data) == ("OK", [b"(1 3)(2)"]), (kind, data)
    kind, (roots, quota) = c.getquotaroot("INBOX")
    assert kind == "OK" and roots[0].startswith(b"INBOX"), (roots, quota)
    kind, data = c.myrights('"tools box"')
    assert kind == "OK" and set(b"lrswipkxtea") <= set(data[0].split()[-1]), data
    assert c.setacl('"tools box"', "anyone", "lr")[0] == "OK"
    kind, data = c.getacl('"tools box"')
    assert kind == "OK" and data[0].endswith(b"anyone lr"), data
    assert c.deleteacl('"tools box"', "anyone")[0] == "OK"
    kind, data = c.getacl('"tools box"')
    assert kind == "OK" and b"anyone" not in data[0], data

    box.flag(["1", "2"], [MailMessageFlags.FLAGGED, "Tools"], True)
    assert box.uids(AND(flagged=True, keyword="Tools")) == ["1", "2"]
    box.flag("1", MailMessageFlags.FLAGGED, False)
    box.copy(["1", "2"], "INBOX")
    box.move("3", "INBOX")
    box.delete("1")
    assert [m.subject for m in box.fetch(mark_seen=False)] == ["a two"]
    box.folder.rename("tools box", "tools 2")
    box.folder.set("INBOX")
    assert sorted(m.subject for m in box.fetch(mark_seen=False)) == ["Re: b one", "a two", "b one"]

    # IDLE.
    with connect() as other:
        box.idle.start()
        other.append(text(4, "news"), "INBOX")
        heard = box.idle.poll(timeout=20)
        box.idle.stop()
        assert any(b"4 EXISTS" in line for line in heard), heard
    box.folder.delete("tools 2")
    assert not box.folder.exists("tools 2")
