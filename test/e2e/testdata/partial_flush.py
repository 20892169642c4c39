"""A client of COMPRESS=DEFLATE that ends its commands with zlib's Z_PARTIAL_FLUSH:
HOST PORT TLSPORT USER PASSWORD. What a command means is there, in less than a
whole octet perhaps, before the header of the next block: servers that wait for
that header hang here."""

import random
import socket
import sys
import zlib

host, port, _, user, password = sys.argv[1:]


class Client:
    def __init__(self, flush, level):
        self.s = socket.create_connection((host, int(port)), timeout=20)
        self.flush, self.out, self.into, self.buf, self.n = flush, None, None, b"", 0
        self.level = level
        self.line()

    def raw(self, data, flush=True):
        if self.out:
            data = self.out.compress(data) + (self.out.flush(self.flush) if flush else b"")
        self.s.sendall(data)

    def more(self):
        data = self.s.recv(65536)
        assert data, "the server is gone"
        self.buf += self.into.decompress(data) if self.into else data

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def octets(self, n):
        while len(self.buf) < n:
            self.more()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def answer(self, tag):
        got = []
        while True:
            line = self.line()
            if line.startswith(tag + b" "):
                assert line.startswith(tag + b" OK"), line
                return got
            if line.endswith(b"}"):
                line += b"\r\n" + self.octets(int(line.rsplit(b"{", 1)[1][:-1]))
            got.append(line)

    def do(self, command):
        self.n += 1
        tag = b"t%d" % self.n
        self.raw(tag + b" " + command + b"\r\n")
        return self.answer(tag)

    def compress(self):
        self.do(b"COMPRESS DEFLATE")
        self.out, self.into = zlib.compressobj(self.level, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def append(self, message):
        self.n += 1
        tag = b"t%d" % self.n
        self.raw(tag + b" APPEND INBOX {%d}\r\n" % len(message))
        line = self.line()
        assert line.startswith(b"+"), line
        self.raw(message + b"\r\n")
        self.answer(tag)


noise = random.Random(1)
for flush, level in ((zlib.Z_PARTIAL_FLUSH, 6), (zlib.Z_PARTIAL_FLUSH, 9), (zlib.Z_PARTIAL_FLUSH, 0), (zlib.Z_SYNC_FLUSH, 6), (zlib.Z_FULL_FLUSH, 1)):
    c = Client(flush, level)
    c.do(b'LOGIN "%s" "%s"' % (user.encode(), password.encode()))
    c.compress()
    messages = [b"Subject: n%d\r\n\r\n" % n + bytes(noise.choice(b"abcdefgh \r\n") for _ in range(n * 9000)) for n in range(4)]
    before = int(c.do(b"STATUS INBOX (MESSAGES)")[0].split()[-1].rstrip(b")"))
    for m in messages:
        c.append(m)
    c.do(b"SELECT INBOX")
    for i, m in enumerate(messages):
        got = c.do(b"FETCH %d BODY.PEEK[]" % (before + 1 + i))
        assert any(m in line for line in got), (i, got[0][:80])
    for n in range(300):  # short commands, each ending at another bit
        c.do(b"NOOP" if n % 3 else b"UID SEARCH SUBJECT " + b"n" * (n % 40 + 1))
    c.n += 1  # what is typed octet by octet
    for octet in b"t%d NOOP\r\n" % c.n:
        c.raw(bytes([octet]))
    c.answer(b"t%d" % c.n)
    c.do(b"LOGOUT")
