// What imapflow uses of the extensions, each checked by what arrives: HOST PORT TLSPORT USER PASSWORD.
import assert from "node:assert/strict";
import { ImapFlow } from "imapflow";

const [host, , tlsPort, user, pass] = process.argv.slice(2);
const connect = async (options = {}) => {
  const c = new ImapFlow({ host, port: +tlsPort, secure: true, auth: { user, pass }, tls: { rejectUnauthorized: false }, logger: false, qresync: true, ...options });
  await c.connect();
  return c;
};
const text = (subject) => `From: a@example.org\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@example.org>\r\n\r\nhello ${subject}\r\n`;
const flagsOf = (m) => [...m.flags].filter((f) => f !== "\\Recent").sort();
const until = async (condition) => {
  for (const end = Date.now() + 20000; !condition(); ) {
    assert.ok(Date.now() < end, `nothing came: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const c = await connect();
assert.ok(c._deflate || c._inflate, "COMPRESS is not on");
for (const name of ["CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4REV2"]) {
  assert.ok([...c.enabled].some((e) => e.toUpperCase() === name), `${name} is not enabled: ${[...c.enabled]}`);
}
for (let i = 1; i <= 6; i++) await c.append("INBOX", text(`m${i}`), []);
await c.mailboxCreate("Kept");

// OBJECTID: a copy and a moved message are the same message.
let box = await c.mailboxOpen("INBOX");
assert.ok(box.mailboxId, "no MAILBOXID");
const ids = {};
for await (const m of c.fetch("1:*", { uid: true, threadId: true })) ids[m.uid] = [m.emailId, m.threadId];
assert.equal(new Set(Object.values(ids).map(([email]) => email)).size, 6, JSON.stringify(ids));
await c.messageCopy("1", "Kept", { uid: true });
assert.deepEqual(await c.search({ emailId: ids[1][0] }, { uid: true }), [1]);

// CONDSTORE and QRESYNC: what happened while the client was away comes in one round trip.
box = await c.mailboxOpen("INBOX");
const { highestModseq, uidValidity } = box;
assert.ok(highestModseq > 0n);
await c.mailboxClose();
const other = await connect({ disableCompression: true, qresync: false });
assert.ok(!other._deflate && !other._inflate);
await other.mailboxOpen("INBOX");
await other.messageFlagsAdd("2", ["\\Flagged", "$Work"], { uid: true });
await other.messageDelete("3,5", { uid: true });

const events = { expunge: [], flags: [] };
c.on("expunge", (e) => events.expunge.push(e));
c.on("flags", (e) => events.flags.push(e));
box = await c.mailboxOpen("INBOX", { changedSince: highestModseq, uidValidity });
assert.equal(box.exists, 4);
await until(() => events.expunge.length === 2 && events.flags.length > 0);
assert.deepEqual(events.expunge.map((e) => [e.uid, e.vanished, e.earlier]).sort(), [[3, true, true], [5, true, true]]);
assert.deepEqual(events.flags.map((e) => [e.uid, flagsOf(e)]), [[2, ["$Work", "\\Flagged"]]]);
const changed = [];
for await (const m of c.fetch("1:*", { uid: true, flags: true }, { uid: true, changedSince: highestModseq })) changed.push([m.uid, flagsOf(m), m.modseq > highestModseq]);
assert.deepEqual(changed, [[2, ["$Work", "\\Flagged"], true]]);

// IDLE: another session's changes come at once.
events.expunge.length = events.flags.length = 0;
let exists = 0;
c.on("exists", (e) => (exists = e.count));
const idle = c.idle();
await until(() => c.idling);
await other.append("INBOX", text("news"), []);
await other.messageFlagsAdd("1", ["\\Answered"], { uid: true });
await other.messageDelete("2", { uid: true });
await until(() => exists === 5 && events.expunge.length === 1 && events.flags.some((e) => e.uid === 1));
assert.deepEqual([events.expunge[0].uid, events.expunge[0].vanished, !!events.expunge[0].earlier], [2, true, false]);
await c.noop();
await idle;

// Large messages through the compression, both ways.
const big = text("big") + "all work and no play makes Jack a dull boy\r\n".repeat(40000);
await c.append("Kept", big, []);
await c.mailboxOpen("Kept");
const got = await c.fetchOne("*", { source: true, threadId: true });
assert.equal(got.source.toString(), big);
assert.deepEqual((await c.fetchOne("1", { uid: true, threadId: true })).emailId, ids[1][0]);

// UTF8=ACCEPT: a header in UTF-8 goes there and comes back.
await c.append("Kept", Buffer.from(text("Grüße aus 東京").replace(/Message-ID:.*\r\n/, "")), []);
const raw = await c.fetchOne("*", { envelope: true, source: true });
assert.equal(raw.envelope.subject, "Grüße aus 東京");
assert.ok(raw.source.toString().includes("Subject: Grüße aus 東京\r\n"));

await other.logout();
await c.logout();
