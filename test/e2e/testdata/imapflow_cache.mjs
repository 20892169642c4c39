// A mail program with a cache, made of imapflow: HOST TLSPORT USER PASSWORD FILE.
// It brings the cache in FILE up to date, and loads of a mailbox only what is
// new or changed as long as its UIDVALIDITY stays the same.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { ImapFlow } from "imapflow";

const [host, port, user, pass, file] = process.argv.slice(2);
const c = new ImapFlow({ host, port: +port, secure: true, auth: { user, pass }, tls: { rejectUnauthorized: false }, logger: false });
await c.connect();
const old = existsSync(file) ? JSON.parse(readFileSync(file)) : {};
const cache = {};
for (const box of await c.list()) {
  const lock = await c.getMailboxLock(box.path);
  try {
    const { uidValidity, uidNext, highestModseq } = c.mailbox;
    let known = old[box.path];
    if (known && known.uidValidity !== String(uidValidity)) known = undefined; // RFC 9051 §2.3.1.1
    const messages = known ? known.messages : {};
    if (c.mailbox.exists > 0) {
      const there = new Set(await c.search({ all: true }, { uid: true }));
      for (const uid of Object.keys(messages)) if (!there.has(+uid)) delete messages[uid];
      if (known) {
        for await (const m of c.fetch("1:*", { uid: true, flags: true }, { uid: true, changedSince: BigInt(known.highestModseq) })) {
          if (messages[m.uid]) messages[m.uid].flags = [...m.flags].filter((f) => f !== "\\Recent").sort();
        }
      }
      const missing = [...there].filter((uid) => !messages[uid]);
      if (missing.length) {
        for await (const m of c.fetch(missing.join(","), { uid: true, flags: true, source: true }, { uid: true })) {
          messages[m.uid] = { sha256: createHash("sha256").update(m.source).digest("hex"), flags: [...m.flags].filter((f) => f !== "\\Recent").sort() };
        }
      }
    } else {
      for (const uid of Object.keys(messages)) delete messages[uid];
    }
    cache[box.path] = { uidValidity: String(uidValidity), uidNext, highestModseq: String(highestModseq), messages };
  } finally {
    lock.release();
  }
}
writeFileSync(file, JSON.stringify(cache, null, 1));
await c.logout();
