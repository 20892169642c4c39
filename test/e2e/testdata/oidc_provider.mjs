// An OpenID provider: npm's oidc-provider, which is certified by the OpenID
// Foundation, on one port of this machine with TLS.
//   node oidc_provider.mjs PORT CERT KEY
// Its keys are new at each start. Users log in with any password; what a token is
// like follows from the resource that it is asked for:
//   urn:test:ALG:AUDIENCE:SECONDS, ALG "opaque" or that of a JWT's signature;
//   a JWT of less than 0 seconds has expired already.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const [port, cert, key] = process.argv.slice(2);
const signing = ([kind, options]) => ({ ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), use: 'sig' });
const secret = { grant_types: [], redirect_uris: [], response_types: [] };
const provider = new Provider(`https://127.0.0.1:${port}`, {
  jwks: { keys: [['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ed25519', {}]].map(signing) },
  clients: [
    {
      client_id: 'phone', client_secret: 'of the phone', redirect_uris: ['https://phone.test/back'],
      grant_types: ['authorization_code'], response_types: ['code'],
    },
    { client_id: 'nestbox', client_secret: 'box: a+b%c', ...secret },
  ],
  scopes: ['openid', 'mail', 'mail.read'],
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => false },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx, token) => ({
    email: `${token.accountId}@box.test`, email_verified: !token.accountId.startsWith('un'), preferred_username: token.accountId,
  }),
  formats: {
    customizers: {
      jwt: (ctx, token, { payload }) => {
        const seconds = Number(token.resourceServer.identifier().split(':')[4]);
        if (seconds < 0) payload.exp = payload.iat + seconds;
      },
    },
  },
  features: {
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'nestbox' },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        const [, , alg, audience, seconds] = resource.split(':');
        const info = { scope: 'mail mail.read', audience, accessTokenTTL: Math.max(Number(seconds), 1) };
        return alg === 'opaque' ? { ...info, accessTokenFormat: 'opaque' }
          : { ...info, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
      },
    },
  },
});
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, provider.callback())
  .listen(Number(port), '127.0.0.1', () => console.log('listening'));
