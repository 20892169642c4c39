// A session with imapflow: HOST PORT TLSPORT USER PASSWORD.
import assert from "node:assert/strict";
import { ImapFlow } from "imapflow";

const [host, , tlsPort, user, pass] = process.argv.slice(2);
const connect = async () => {
  const c = new ImapFlow({ host, port: +tlsPort, secure: true, auth: { user, pass }, tls: { rejectUnauthorized: false }, logger: false });
  await c.connect();
  return c;
};
const text = (subject) => `From: a@example.org\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@example.org>\r\n\r\nhello ${subject}\r\n`;

const c = await connect();
const made = await c.mailboxCreate("flow Grüße");
assert.equal(made.created, true);
const boxes = await c.list({ statusQuery: { messages: true, unseen: true } });
assert.ok(boxes.find((b) => b.path === "flow Grüße"), JSON.stringify(boxes.map((b) => b.path)));

const one = await c.append("flow Grüße", text("one"), ["\\Flagged"], new Date("2023-01-02T15:04:05+01:00"));
assert.equal(one.uid, 1);
await c.append("flow Grüße", text("two"), []);

let lock = await c.getMailboxLock("flow Grüße");
try {
  assert.equal(c.mailbox.exists, 2);
  const subjects = [];
  for await (const m of c.fetch("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, headers: ["subject"] })) {
    subjects.push(m.envelope.subject);
    assert.equal(m.size, text(m.envelope.subject).length);
    assert.equal(m.bodyStructure.type, "text/plain");
  }
  assert.deepEqual(subjects, ["one", "two"]);
  const got = await c.download("1", undefined, { uid: true });
  let body = "";
  for await (const piece of got.content) body += piece;
  assert.equal(body, text("one"));
  assert.deepEqual(await c.search({ header: { subject: "two" } }, { uid: true }), [2]);
  assert.deepEqual(await c.search({ flagged: true }, { uid: true }), [1]);
  assert.equal(await c.messageFlagsAdd({ uid: "2" }, ["\\Seen", "$Label"]), true);
  const fetched = await c.fetchOne("2", { flags: true }, { uid: true });
  assert.deepEqual([...fetched.flags].filter((f) => f !== "\\Recent").sort(), ["$Label", "\\Seen"]);
  const copied = await c.messageCopy("1:2", "INBOX");
  assert.equal(copied.uidMap.size, 2);
  const moved = await c.messageMove({ uid: "1" }, "INBOX");
  assert.equal(moved.uidMap.size, 1);
  assert.equal(await c.messageDelete({ uid: "2" }, { uid: true }), true);
  await c.noop();
  assert.equal(c.mailbox.exists, 0);
} finally {
  lock.release();
}

lock = await c.getMailboxLock("INBOX");
try {
  assert.equal(c.mailbox.exists, 3);
  const news = new Promise((resolve) => c.once("exists", resolve));
  const idle = c.idle();
  const d = await connect();
  await d.append("INBOX", text("three"), []);
  assert.equal((await news).count, 4);
  const status = await d.status("INBOX", { messages: true, uidNext: true, unseen: true });
  assert.equal(status.messages, 4);
  await d.logout();
  await c.noop();
  await idle;
} finally {
  lock.release();
}
await c.mailboxRename("flow Grüße", "flow 2");
await c.mailboxDelete("flow 2");
await c.logout();
