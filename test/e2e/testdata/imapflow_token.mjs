// Logins by token with imapflow: HOST TLSPORT USER TOKEN. It picks OAUTHBEARER, and
// XOAUTH2 when the server doesn't announce that.
import assert from "node:assert/strict";
import { ImapFlow } from "imapflow";

const [host, port, user, accessToken] = process.argv.slice(2);
const client = (auth) => new ImapFlow({ host, port: +port, secure: true, auth, tls: { rejectUnauthorized: false }, logger: false });

for (const hidden of [[], ["AUTH=OAUTHBEARER"]]) {
  const connect = async (auth) => {
    const c = client(auth);
    const authenticate = c.authenticate;
    c.authenticate = async (...args) => {
      hidden.forEach((name) => assert.ok(c.capabilities.delete(name)));
      return authenticate.apply(c, args);
    };
    await c.connect();
    return c;
  };
  const c = await connect({ user, accessToken });
  assert.ok((await c.list()).length > 0);
  await c.logout();

  await assert.rejects(connect({ user, accessToken: "A" + accessToken }), (e) => {
    assert.equal(e.authenticationFailed, true);
    assert.equal(e.oauthError?.status, hidden.length ? "401" : "invalid_token");
    return true;
  });
}
console.log("done");
